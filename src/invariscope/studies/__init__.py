"""Studies: functions that go beyond a single call of `iv.measure`, such as `iv.studies.worst_element`."""

from __future__ import annotations

from invariscope.studies.illustrate import illustrate
from invariscope.studies.lie.layerwise import lie_derivative
from invariscope.studies.local_decomposition import local_decomposition
from invariscope.studies.neurons.stability import neuron_stability
from invariscope.studies.stability_curve import stability_curve
from invariscope.studies.worst_element import worst_element

__all__ = [
    "illustrate",
    "lie_derivative",
    "local_decomposition",
    "neuron_stability",
    "stability_curve",
    "worst_element",
]
