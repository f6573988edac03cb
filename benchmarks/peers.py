"""Measure with the `tmeasures` package, using its public interface as documented."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

import invariscope as iv
from invariscope.transforms import Transform


class _Positions(Dataset):
    """Samples represented by their positions, with which elements look up the transformed input."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(index)


def _setup(apply: Callable[[torch.Tensor, int], torch.Tensor], elements: int) -> tuple[Any, Any]:
    import tmeasures.pytorch as tm

    class Element(tm.PyTorchTransformation):
        """Element that calls `apply` with its number."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def __call__(self, sample: torch.Tensor) -> torch.Tensor:
            return apply(sample, self.number)

        def parameters(self, recurse: bool = True) -> Any:
            return torch.tensor([float(self.number)])

        def inverse(self) -> Any:
            return self

    class Elements(tm.PyTorchTransformationSet):
        def valid_input(self, shape: Any) -> bool:
            return True

        def copy(self) -> Any:
            return self

        def id(self) -> str:
            return "elements"

        def parameter_range(self) -> Any:
            return torch.tensor([0.0]), torch.tensor([1.0])

    return Elements([Element(j) for j in range(elements)]), tm


def tmeasures_result(
    measure: str,
    model: torch.nn.Module,
    inputs: torch.Tensor,
    transform: Transform,
    *options: Any,
    lookup: bool = True,
) -> Any:
    """Return the result of a measure of the package, given by name, over every leaf module.

    Args:
        options: positional options of the measure.
        lookup: whether elements look up a precomputed orbit, so that transforming costs no time. The package
            then sees positions instead of samples, which some of its measures do not accept.
    """
    orbit = transform.orbit(inputs)
    found = (lambda at, j: orbit[int(at), j]) if lookup else (lambda x, j: transform.orbit(x[None])[0, j])
    members, tm = _setup(found, orbit.shape[1])
    samples = _Positions(len(inputs)) if lookup else inputs
    settings = tm.PyTorchMeasureOptions(batch_size=64, num_workers=0, verbose=False)
    read = tm.AutoActivationsModule(model)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return getattr(tm, measure)(*options).eval(samples, members, read, settings)


def tmeasures_normalized_variance(model: torch.nn.Module, inputs: torch.Tensor, transform: Transform) -> Any:
    """Return the result of the package's NormalizedVariance over every leaf module."""
    return tmeasures_result("NormalizedVarianceInvariance", model, inputs, transform)


def agreement_with_tmeasures(
    model: torch.nn.Module, inputs: torch.Tensor, transform: Transform
) -> dict[str, float]:
    """Return each unit's relative difference from the preset "tmeasures", for units that are live in both."""
    theirs = tmeasures_normalized_variance(model, inputs, transform)
    preset = iv.NormalizedVariance(preset="tmeasures")
    ours = iv.measure(model, inputs, transform, measures=[preset], rows="all", progress=False)
    layers = [layer for _, layer, _, _ in ours.maps]
    gaps = []
    for layer, values in zip(layers, theirs.layers, strict=True):
        peer, own = np.asarray(values, float), ours.maps["normalized_variance", layer]
        both = np.isfinite(peer) & np.isfinite(own) & (own > 0)
        gaps.append(np.abs(peer[both] - own[both]) / own[both])
    every = np.concatenate([gap.ravel() for gap in gaps])
    return {"units": every.size, "median": float(np.median(every)), "p99": float(np.quantile(every, 0.99))}
