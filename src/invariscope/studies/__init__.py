"""Questions with a result of their own, each asked by a function: `iv.studies.worst_element(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.studies.illustrate import illustrate
from invariscope.studies.lie.layerwise import lie_derivative
from invariscope.studies.local_decomposition import local_decomposition
from invariscope.studies.stability_curve import stability_curve
from invariscope.studies.worst_element import worst_element

if TYPE_CHECKING:
    from invariscope.neurons.stability import neuron_stability as neuron_stability

__all__ = [
    "illustrate",
    "lie_derivative",
    "local_decomposition",
    "neuron_stability",
    "stability_curve",
    "worst_element",
]


def __getattr__(name: str) -> Any:
    if name == "neuron_stability":
        from invariscope.neurons.stability import neuron_stability

        return neuron_stability
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
