"""Measure how a neural network's representations respond when its inputs are transformed.

    import invariscope as iv

    result = iv.measure(model, images, iv.Rotation.circle(16))
    result.table
    result.report("report.html")

All names are loaded on first use, so importing the package loads neither torch nor pandas nor matplotlib.
Transforms and measures are found in their registries by class name. `make stubs` generates `__init__.pyi`,
which lists all names for editors and type checkers.
"""

from __future__ import annotations

import itertools  # built into the interpreter, as is sys
import sys

# `python -m invariscope` puts the working folder first on the path, where a `random.py` would replace the
# standard library's. While Python looks for the module to run, `sys.argv[0]` is "-m".
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    _named = [name.split(".")[0] for word, name in itertools.pairwise(sys.orig_argv) if word.endswith("m")]
    if __name__ in _named:
        del sys.path[0]

import importlib
import warnings
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "FibreAction": "invariscope.actions.feature_actions",
    "Group": "invariscope.actions.group",
    "LimitError": "invariscope.checking.limit_verdict",
    "LocalDecomposition": "invariscope.studies.local_decomposition",
    "MatrixAction": "invariscope.actions.feature_actions",
    "Monitor": "invariscope.monitor.monitor",
    "Pool": "invariscope.readers.pooling",
    "Rows": "invariscope.readers.pooling",
    "OrbitAverage": "invariscope.variants.orbit_average",
    "Result": "invariscope.results.result",
    "SpatialAction": "invariscope.actions.feature_actions",
    "SymmetryError": "invariscope.checking.verdict",
    "TrivialAction": "invariscope.actions.feature_actions",
    "assert_equivariant": "invariscope.checking.assertions",
    "assert_invariant": "invariscope.checking.assertions",
    "assert_limits": "invariscope.checking.assert_limits",
    "batch_normalized": "invariscope.variants.calibrated",
    "calibrated": "invariscope.variants.calibrated",
    "compare": "invariscope.results.compare",
    "explain": "invariscope.catalog.listing",
    "illustrate": "invariscope.studies.illustrate",
    "lie_derivative": "invariscope.studies.lie.layerwise",
    "list_measures": "invariscope.catalog.listing",
    "list_plots": "invariscope.catalog.listing",
    "list_transforms": "invariscope.catalog.listing",
    "load": "invariscope.results.storage",
    "local_decomposition": "invariscope.studies.local_decomposition",
    "measure": "invariscope.engine.api",
    "merge": "invariscope.engine.sharding.merging",
    "neuron_stability": "invariscope.studies.neurons.stability",
    "plot": "invariscope.plots",
    "read_data": "invariscope.data.files.reading",
    "receptive_field": "invariscope.anatomy.receptive_field",
    "stability_curve": "invariscope.studies.stability_curve",
    "worst_element": "invariscope.studies.worst_element",
}
_PACKAGES = (
    "demo",
    "generators",
    "loggers",
    "measures",
    "monitor",
    "neurons",
    "penalties",
    "plots",
    "readers",
    "report",  # also callable, to write a report
    "studies",
    "transforms",
    "weights",
    "zoo",
)
_ROOMS = {"neurons": "studies.neurons"}  # packages inside another one
_RENAMED = {"write_report": "report"}  # old names, to be removed in the next version


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"invariscope.{_ROOMS.get(name, name)}")
    if name in _RENAMED:
        message = f"iv.{name} was renamed to iv.{_RENAMED[name]} and will be removed in the next version"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return __getattr__(_RENAMED[name])
    if name[:1].isupper():
        from invariscope.catalog.listing import class_named

        if (found := class_named(name)) is not None:
            return found
    raise AttributeError(f"module 'invariscope' has no attribute {name!r}{_closest(name)}")


def _closest(name: str) -> str:
    """Return the most similar public names as the end of a message."""
    if name.startswith("_"):
        return ""
    from invariscope.common.registry import closest

    near = closest(name, __dir__() if name[:1].isupper() else [*_HOMES, *_PACKAGES])
    return f". Closest: {', '.join(map(repr, near))}" if near else ""


def __dir__() -> list[str]:
    from invariscope.catalog.listing import class_names

    return sorted({*_HOMES, *_PACKAGES, *_RENAMED, *class_names(), "__version__"})
