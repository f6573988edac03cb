"""How a neural network's representations respond when its inputs are transformed.

    import invariscope as iv

    result = iv.measure(model, images, iv.Rotation.circle(16))
    result.table
    result.report("report.html")

Everything here is loaded when it is first used: importing the package loads neither torch nor
pandas nor matplotlib. Transforms and measures are found by their class names in their registries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "FibreAction": "invariscope.statistics.feature_actions",
    "Group": "invariscope.statistics.group",
    "LocalDecomposition": "invariscope.transforms.local_decomposition",
    "MatrixAction": "invariscope.statistics.feature_actions",
    "Monitor": "invariscope.monitor.monitor",
    "OrbitAverage": "invariscope.controls",
    "Result": "invariscope.result",
    "SpatialAction": "invariscope.statistics.feature_actions",
    "SymmetryError": "invariscope.checking.verdict",
    "TrivialAction": "invariscope.statistics.feature_actions",
    "assert_equivariant": "invariscope.checking.assertions",
    "assert_invariant": "invariscope.checking.assertions",
    "batch_normalized": "invariscope.engine.calibration",
    "calibrated": "invariscope.engine.calibration",
    "compare": "invariscope.uncertainty",
    "explain": "invariscope.listing",
    "illustrate": "invariscope.engine.illustrate",
    "lie_derivative": "invariscope.lie.layerwise",
    "list_measures": "invariscope.listing",
    "load": "invariscope.storage",
    "local_decomposition": "invariscope.transforms.local_decomposition",
    "measure": "invariscope.engine.api",
    "neuron_stability": "invariscope.neurons.stability",
    "receptive_field": "invariscope.readers.receptive_field",
    "stability_curve": "invariscope.engine.curves",
    "worst_element": "invariscope.engine.refinement",
    "write_report": "invariscope.report",
}
_PACKAGES = (
    "demo",
    "generators",
    "measures",
    "monitor",
    "neurons",
    "penalties",
    "plots",
    "readers",
    "report",
    "transforms",
    "weights",
    "zoo",
)

if TYPE_CHECKING:
    from invariscope.checking.assertions import assert_equivariant as assert_equivariant
    from invariscope.checking.assertions import assert_invariant as assert_invariant
    from invariscope.checking.verdict import SymmetryError as SymmetryError
    from invariscope.controls import OrbitAverage as OrbitAverage
    from invariscope.engine.api import measure as measure
    from invariscope.engine.calibration import batch_normalized as batch_normalized
    from invariscope.engine.calibration import calibrated as calibrated
    from invariscope.engine.curves import stability_curve as stability_curve
    from invariscope.engine.illustrate import illustrate as illustrate
    from invariscope.engine.refinement import worst_element as worst_element
    from invariscope.lie.layerwise import lie_derivative as lie_derivative
    from invariscope.listing import explain as explain
    from invariscope.listing import list_measures as list_measures
    from invariscope.monitor.monitor import Monitor as Monitor
    from invariscope.neurons.stability import neuron_stability as neuron_stability
    from invariscope.readers.receptive_field import receptive_field as receptive_field
    from invariscope.report import write_report as write_report
    from invariscope.result import Result as Result
    from invariscope.statistics.feature_actions import FibreAction as FibreAction
    from invariscope.statistics.feature_actions import MatrixAction as MatrixAction
    from invariscope.statistics.feature_actions import SpatialAction as SpatialAction
    from invariscope.statistics.feature_actions import TrivialAction as TrivialAction
    from invariscope.statistics.group import Group as Group
    from invariscope.storage import load as load
    from invariscope.transforms.local_decomposition import LocalDecomposition as LocalDecomposition
    from invariscope.transforms.local_decomposition import local_decomposition as local_decomposition
    from invariscope.uncertainty import compare as compare


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"invariscope.{name}")
    found = None if name.startswith("_") else _registered(name)
    if found is None:
        raise AttributeError(f"module 'invariscope' has no attribute {name!r}")
    return found


def _registered(name: str) -> Any:
    """A transform or measure by its class name."""
    if not name[:1].isupper():
        return None
    from invariscope.listing import class_named

    return class_named(name)


def __dir__() -> list[str]:
    from invariscope.listing import class_names

    return sorted({*_HOMES, *_PACKAGES, *class_names(), "__version__"})
