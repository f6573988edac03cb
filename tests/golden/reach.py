"""The only imports from inside the package. Whoever moves or renames internals edits this file alone."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import invariscope as iv
from invariscope.measures import MEASURES
from invariscope.plots import PLOTS
from invariscope.transforms import TRANSFORMS


def measure_classes() -> dict[str, Any]:
    return dict(MEASURES.classes())


def transform_classes() -> dict[str, Any]:
    return dict(TRANSFORMS.classes())


def plot_classes() -> dict[str, Any]:
    return dict(PLOTS.classes())


def presets() -> dict[str, tuple[str, ...]]:
    """The names of the published conventions, by measure."""
    from invariscope.measures import goodfellow, lie_derivative, stability, variance

    of_variance = tuple(variance.PRESETS)
    return {
        "transformation_variance": of_variance,
        "sample_variance": of_variance,
        "normalized_variance": of_variance,
        "stability": tuple(stability._PRESETS),
        "goodfellow": tuple(goodfellow._PRESETS),
        "lie_derivative": (lie_derivative.LEGACY,),
    }


def replicates(result: iv.Result) -> dict[str, np.ndarray]:
    """Per measure, the layer values without each group of samples, of the rows that have them."""
    found: dict[str, list[Any]] = {}
    for row in result.rows:
        for name in ("replicates", "group_sizes"):
            if row.get(name):
                found.setdefault(f"{row['measure']}/{name}", []).append(np.asarray(row[name], dtype=float))
    return {name: np.concatenate([one.ravel() for one in rows]) for name, rows in found.items()}


@contextmanager
def frequent_checkpoints() -> Iterator[None]:
    """Checkpoints are written after every block instead of every half minute."""
    with mock.patch("invariscope.engine.checkpoint.Checkpoint.due", return_value=True):
        yield


def parameters(function: Any) -> list[str]:
    """The names of the parameters of a class or function."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def judged(result: iv.Result, most: list[str], least: list[str]) -> Any:
    """Outcomes of limits that are written as on the command line."""
    from invariscope.checking.limits import read_limits
    from invariscope.checking.outcomes import judged

    return judged(read_limits(most, least), result)


def readings(forward: Any, images: Any) -> list[Any]:
    """What one forward yields: each reading's values, and whether it repeats another one."""
    found: list[Any] = []

    def keep(reading: Any) -> None:
        values = [] if reading.values is None else reading.values.clone()
        found.append(
            [{"layer": frozenset([f"{reading.layer}#{reading.call}"])}, values, reading.alias_of is None]
        )

    forward(images, keep)
    return found


def command_line() -> Any:
    from invariscope.cli.app import app

    return app


def figure(name: str) -> Any:
    """A figure that is made of no result, and so stands in no registry."""
    from invariscope.lab.plots.deformation_phases import DeformationPhases
    from invariscope.lab.plots.displacement_fields import DisplacementFields
    from invariscope.lab.plots.filter_images import FilterImages

    return {one.__name__: one for one in (DeformationPhases, DisplacementFields, FilterImages)}[name]


def decomposed() -> iv.Result:
    """Random fields taken apart, as a recipe does it."""
    from invariscope.lab.recipes.kinds.decompose import Decompose

    return Decompose(transform="Diffeomorphism(1)", size=12, fields=64, patches=[2, 3, 6], seed=1)._result()


def sample_result(*arguments: Any, **options: Any) -> iv.Result:
    """The result that the tests of plots use, of fewer and smaller layers."""
    path = Path(__file__).parents[1] / "plots" / "sample_results.py"
    spec = importlib.util.spec_from_file_location("golden_sample_results", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layers = {"conv1": (4, 6, 6), "relu1": (4, 6, 6), "fc": (8,), "out": (10,)}
    return module.sample_result(*arguments, layers=layers, **options)


@contextmanager
def checkpoint_of_this_code(path: Path) -> Iterator[None]:
    """The fingerprint of the measurement counts as the one in the file."""
    from safetensors import safe_open

    from invariscope.engine.checkpoint import Checkpoint

    with safe_open(path, framework="numpy") as file:
        digest = json.loads(file.metadata()["run"])["digest"]
    with mock.patch.object(Checkpoint, "digest", digest):
        yield
