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
    "FibreAction": "invariscope.actions.feature_actions",
    "Group": "invariscope.actions.group",
    "LocalDecomposition": "invariscope.studies.local_decomposition",
    "MatrixAction": "invariscope.actions.feature_actions",
    "Monitor": "invariscope.monitor.monitor",
    "OrbitAverage": "invariscope.variants.orbit_average",
    "Result": "invariscope.results.result",
    "SpatialAction": "invariscope.actions.feature_actions",
    "SymmetryError": "invariscope.checking.verdict",
    "TrivialAction": "invariscope.actions.feature_actions",
    "assert_equivariant": "invariscope.checking.assertions",
    "assert_invariant": "invariscope.checking.assertions",
    "batch_normalized": "invariscope.variants.calibrated",
    "calibrated": "invariscope.variants.calibrated",
    "compare": "invariscope.intervals",
    "explain": "invariscope.catalog.listing",
    "illustrate": "invariscope.studies.illustrate",
    "lie_derivative": "invariscope.studies.lie.layerwise",
    "list_measures": "invariscope.catalog.listing",
    "load": "invariscope.results.storage",
    "local_decomposition": "invariscope.studies.local_decomposition",
    "measure": "invariscope.engine.api",
    "neuron_stability": "invariscope.studies.neurons.stability",
    "receptive_field": "invariscope.anatomy.receptive_field",
    "stability_curve": "invariscope.studies.stability_curve",
    "worst_element": "invariscope.studies.worst_element",
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
_ROOMS = {"neurons": "studies.neurons"}  # of packages that lie in another one

if TYPE_CHECKING:
    from invariscope.actions.feature_actions import FibreAction as FibreAction
    from invariscope.actions.feature_actions import MatrixAction as MatrixAction
    from invariscope.actions.feature_actions import SpatialAction as SpatialAction
    from invariscope.actions.feature_actions import TrivialAction as TrivialAction
    from invariscope.actions.group import Group as Group
    from invariscope.anatomy.receptive_field import receptive_field as receptive_field
    from invariscope.catalog.listing import explain as explain
    from invariscope.catalog.listing import list_measures as list_measures
    from invariscope.checking.assertions import assert_equivariant as assert_equivariant
    from invariscope.checking.assertions import assert_invariant as assert_invariant
    from invariscope.checking.verdict import SymmetryError as SymmetryError
    from invariscope.engine.api import measure as measure
    from invariscope.intervals import compare as compare
    from invariscope.monitor.monitor import Monitor as Monitor
    from invariscope.report import write_report as write_report
    from invariscope.results.result import Result as Result
    from invariscope.results.storage import load as load
    from invariscope.studies.illustrate import illustrate as illustrate
    from invariscope.studies.lie.layerwise import lie_derivative as lie_derivative
    from invariscope.studies.local_decomposition import LocalDecomposition as LocalDecomposition
    from invariscope.studies.local_decomposition import local_decomposition as local_decomposition
    from invariscope.studies.neurons.stability import neuron_stability as neuron_stability
    from invariscope.studies.stability_curve import stability_curve as stability_curve
    from invariscope.studies.worst_element import worst_element as worst_element
    from invariscope.variants.calibrated import batch_normalized as batch_normalized
    from invariscope.variants.calibrated import calibrated as calibrated
    from invariscope.variants.orbit_average import OrbitAverage as OrbitAverage


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"invariscope.{_ROOMS.get(name, name)}")
    found = None if name.startswith("_") else _registered(name)
    if found is None:
        raise AttributeError(f"module 'invariscope' has no attribute {name!r}")
    return found


def _registered(name: str) -> Any:
    """A transform or measure by its class name."""
    if not name[:1].isupper():
        return None
    from invariscope.catalog.listing import class_named

    return class_named(name)


def __dir__() -> list[str]:
    from invariscope.catalog.listing import class_names

    return sorted({*_HOMES, *_PACKAGES, *class_names(), "__version__"})
