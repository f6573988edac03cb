"""Measure with the `tmeasures` package, using its public interface as documented."""

from __future__ import annotations

import contextlib
import io
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


def _setup(orbit: torch.Tensor) -> tuple[Any, Any]:
    import tmeasures.pytorch as tm

    class Element(tm.PyTorchTransformation):
        """Element that looks up the precomputed orbit, so that transforming costs no time."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def __call__(self, position: torch.Tensor) -> torch.Tensor:
            return orbit[int(position), self.number]

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

    members = Elements([Element(j) for j in range(orbit.shape[1])])
    return members, tm


def tmeasures_normalized_variance(model: torch.nn.Module, inputs: torch.Tensor, transform: Transform) -> Any:
    """Return the result of the package's NormalizedVariance over every leaf module."""
    members, tm = _setup(transform.orbit(inputs))
    options = tm.PyTorchMeasureOptions(batch_size=64, num_workers=0, verbose=False)
    read = tm.AutoActivationsModule(model)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return tm.NormalizedVarianceInvariance().eval(_Positions(len(inputs)), members, read, options)


def agreement_with_tmeasures(
    model: torch.nn.Module, inputs: torch.Tensor, transform: Transform
) -> dict[str, float]:
    """Return each unit's relative difference from the preset "tmeasures", for units that are live in both."""
    theirs = tmeasures_normalized_variance(model, inputs, transform)
    ours = iv.measure(
        model, inputs, transform, measures=[iv.NormalizedVariance(preset="tmeasures")], progress=False
    )
    layers = [layer for _, layer, _, _ in ours.maps]
    gaps = []
    for layer, values in zip(layers, theirs.layers, strict=True):
        peer, own = np.asarray(values, float), ours.maps["normalized_variance", layer]
        both = np.isfinite(peer) & np.isfinite(own) & (own > 0)
        gaps.append(np.abs(peer[both] - own[both]) / own[both])
    every = np.concatenate([gap.ravel() for gap in gaps])
    return {"units": every.size, "median": float(np.median(every)), "p99": float(np.quantile(every, 0.99))}
