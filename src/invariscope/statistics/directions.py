"""Cosine distances of all pairs, from sums of unit vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block, replicate_sums
from invariscope.statistics.bucket_sums import BucketSums, SumStatistic
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.mean_distances import LayerDistances, MeanDistances, as_channels
from invariscope.statistics.orbit_state import NonFiniteError

# Cosines are between -1 and 1; their sums over pairs are right to about this much.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Directions(SumStatistic):
    """Sums of responses divided by their length, of whole layers and of single channels.

    With n' vectors û of length 1, the mean of 1 − cos over their pairs is (n'² − ‖Σû‖²)/(n'(n' − 1)),
    and, from the other side, the sum over components of the variance of û. Vectors of length zero have
    no direction: they are left out, and counted.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """A sum a unit and element, twice for feature maps, which have directions by channel too."""
        return 16 * units * elements

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """An empty state."""
        values = as_channels(block)[:1]
        shape = tuple(block.values.shape[1:])
        views = {"layer": values.flatten(2)[:, :, None]}
        if len(shape) > 1:
            views["channels"] = values
        sums = {
            f"{view}.{name}": np.zeros((buckets, *size))
            for view, vectors in views.items()
            for name, size in _sizes(*vectors.shape[1:]).items()
        }
        double = block.values.dtype == torch.float64
        return BucketSums(np.zeros(buckets, np.int64), sums, shape, double)

    def update(self, state: BucketSums, block: Block) -> None:
        """Adds a block's orbits."""
        values = as_channels(block)
        self._add(state, "layer", values.flatten(2)[:, :, None], block)
        if "channels.directions" in state.sums:
            self._add(state, "channels", values, block)
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)

    def _add(self, state: BucketSums, view: str, vectors: Tensor, block: Block) -> None:
        found = _directions(vectors)
        for bucket, samples in block.membership:
            chosen = torch.from_numpy(samples).to(vectors.device)
            for name, part in found.items():
                state.sums[f"{view}.{name}"][bucket] += part[chosen].sum(0).cpu().numpy()

    def relative_to(self, state: BucketSums, fixed: FixedPoints | None) -> dict[str, np.ndarray]:
        """Nothing is relative to anything here."""
        return state.sums

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> LayerDistances:
        """Mean cosine distances, of all samples and of all but each group's."""
        channels = "channels.directions" in state.sums
        return LayerDistances(
            _distances(state, "layer", groups), _distances(state, "channels", groups) if channels else None
        )


def _sizes(elements: int, vectors: int, components: int) -> dict[str, tuple[int, ...]]:
    return {
        "directions": (elements, vectors, components),
        "present": (elements, vectors),
        "along": (vectors,),
        "rows": (vectors,),
    }


def _directions(vectors: Tensor) -> dict[str, Tensor]:
    """What each sample adds, from (sample, element, vector, component) responses."""
    lengths = vectors.norm(dim=-1)
    if not lengths.sum().isfinite():
        raise NonFiniteError
    present = lengths > 0
    directions = vectors / torch.where(present, lengths, 1.0)[..., None]
    counts = present.sum(1)
    mean = directions.sum(1) / counts.clamp_min(1)[..., None]
    spread = ((directions - mean[:, None]).square().sum(-1) * present).sum(1)
    usable = counts > 1
    along = torch.where(usable, spread / (counts - 1).clamp_min(1), 0.0)
    return {"directions": directions, "present": present, "along": along, "rows": usable}


def _distances(state: BucketSums, view: str, groups: list[list[int]]) -> MeanDistances:
    along, rows, present = (
        state.replicates(f"{view}.{name}", groups) for name in ("along", "rows", "present")
    )
    sums = state.sums[f"{view}.directions"]
    parts = [sums[members].sum(axis=0) for members in groups]
    whole = sum(parts[1:], parts[0])
    # One replicate at a time: each is as large as the layer times the elements.
    squares = [np.square(whole).sum(-1)]
    squares += [np.square(whole - part).sum(-1) for part in parts] if len(parts) > 1 else []
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (present**2 - np.stack(squares)) / (present * (present - 1))
        across = _above_rounding(np.where(present > 1, across, np.nan))
        defined = np.isfinite(across)
        mean = np.where(defined, across, 0.0).sum(axis=1) / defined.sum(axis=1)
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        missing = counts[0] * present.shape[1] * present.shape[2] - present[0].sum()
        return MeanDistances(_above_rounding(along / rows), mean, int(missing))


def _above_rounding(distances: np.ndarray) -> np.ndarray:
    """Zero where vectors of length 1 differ by rounding alone."""
    return np.where(distances < _ROUNDING, 0.0, distances)
