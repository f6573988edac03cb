"""Sums for a linear regression of transformed responses on untransformed ones, in two halves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.draws import Draws, Stream, drawn_words
from invariscope.statistics.errors import finite
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.sums import BucketSums, SumStatistic


@dataclass(frozen=True)
class RegressionSums:
    """Sums over the samples of each half, with x the untransformed and y_j the transformed response.

    Args:
        count: (replicate, half) number of samples.
        x, y: (replicate, half, dim) and (replicate, half, element, dim).
        xx, xy: Σ x xᵀ (replicate, half, dim, dim) and Σ x y_jᵀ (replicate, half, element, dim, dim).
        yy: Σ ‖y_j‖² (replicate, half, element).
        moving: (element,) False for the identity.
        units: number of units of the layer; dims is smaller if they were projected.
    """

    count: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    moving: np.ndarray
    units: int


@dataclass(frozen=True)
class OrbitRegression(SumStatistic):
    """First and second moments of x = φ(x_i) and y_j = φ(t_j x_i), relative to one response per stratum.

    A hash of the sample's key (or cluster) and the seed assigns it to a half. Memory depends only on
    elements × dims².

    Args:
        dims: larger layers are randomly projected to this many dimensions.
        seed: seed of the halves and the projection.
    """

    reads = (Untransformed(),)
    dims: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the second moments of both halves."""
        dims = min(units, self.dims)
        return 16 * ((1 + elements) * dims * (dims + 1) + 2 * elements + 1)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return empty sums."""
        dims, elements = min(math.prod(block.values.shape[1:]), self.dims), block.elements
        shapes: dict[str, tuple[int, ...]] = {
            "count": (),
            "x": (dims,),
            "y": (elements, dims),
            "xx": (dims, dims),
            "xy": (elements, dims, dims),
            "yy": (elements,),
            "still": (elements,),
        }
        sizes = {name: (2, *shape) for name, shape in shapes.items()}
        return BucketSums.empty(block, buckets, sizes, fixed=(dims,))

    def update(self, state: BucketSums, block: Block) -> None:
        """Add the block's samples."""
        x = self._seen(block.rest()).numpy()
        orbits = self._seen(block.orbits().flatten(0, 1)).numpy()
        y = orbits.reshape(block.samples, block.elements, -1)
        fixed = state.points
        fixed.meet(block.membership, lambda sample: x[sample])
        halves = halves_of(block.keys if block.clusters is None else block.clusters, seed=self.seed)
        still = (~block.moving).astype(float)
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            point = fixed.values[fixed.strata[bucket]]
            for half in (0, 1):
                mine = samples[halves[samples] == half]
                for name, part in _moments(x[mine] - point, y[mine] - point, still).items():
                    state.sums[name][bucket, half] += part

    def _seen(self, responses: Tensor) -> Tensor:
        """Return the projected (row, dim) responses in float64, on the host."""
        return projected(finite(responses).flatten(1), self.dims, seed=self.seed).cpu()

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> dict[str, np.ndarray]:
        """Return the same moments, taken relative to other responses."""
        moved = -state.points.moves_to(fixed)[:, None]
        old, count = state.sums, state.sums["count"][..., None]
        across = old["y"][..., None, :] * moved[:, :, None, :, None]
        outer = moved[..., :, None] * moved[..., None, :]
        own = old["x"][..., :, None] * moved[..., None, :]
        counts = count[..., None]
        along = (old["y"] * moved[:, :, None]).sum(axis=-1)
        return old | {
            "x": old["x"] - count * moved,
            "y": old["y"] - counts * moved[:, :, None],
            "xx": old["xx"] - own - own.swapaxes(-1, -2) + counts * outer,
            "xy": old["xy"] - own[..., None, :, :] - across + counts[..., None] * outer[..., None, :, :],
            "yy": old["yy"] - 2 * along + count * np.square(moved).sum(axis=-1, keepdims=True),
        }

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> RegressionSums:
        """Return the sums over all groups, and with each group left out."""
        state = self.together(state, groups)
        found = {name: state.replicates(name, groups) for name in state.sums}
        moving = found.pop("still")[0].sum(axis=0) == 0
        return RegressionSums(**found, moving=moving, units=int(np.prod(state.shape)))


def halves_of(keys: np.ndarray, *, seed: int) -> np.ndarray:
    """Return (sample,) 0 or 1, drawn by the sample's key.

    >>> halves_of(np.arange(8), seed=0).tolist() == halves_of(np.arange(8)[::-1], seed=0).tolist()[::-1]
    True
    """
    return (drawn_words(keys, seed, Stream.FITTED_HALF) >> np.uint64(63)).astype(np.int64)


def _moments(x: np.ndarray, y: np.ndarray, still: np.ndarray) -> dict[str, Any]:
    """Return sums over a few samples: x (sample, dim), y (sample, element, dim)."""
    return {
        "count": len(x),
        "x": x.sum(axis=0),
        "y": y.sum(axis=0),
        "xx": x.T @ x,
        "xy": x.T @ y.swapaxes(0, 1),
        "yy": np.square(y).sum(axis=(0, 2)),
        "still": still * len(x),
    }


_ORDER, _SIGN = 0, 1  # which of a unit's draws determines the sum that it enters, and which its sign there


def projected(responses: Tensor, dims: int, *, seed: int) -> Tensor:
    """Return (row, min(unit, dims)) responses in float64: unchanged, or as `dims` signed sums of units.

    Every unit enters one of the sums with a random sign, and the numbers of units per sum differ by at most
    one. The projection preserves squared lengths on average.

    Args:
        responses: (row, unit) of one layer.

    >>> projected(torch.ones(1, 2), 3, seed=0)
    tensor([[1., 1.]], dtype=torch.float64)
    """
    units = responses.shape[1]
    if units <= dims:
        return responses.double()
    place, sign = (torch.from_numpy(part).to(responses.device) for part in _directions(units, dims, seed))
    sums = torch.zeros(len(responses), dims, dtype=torch.float64, device=responses.device)
    return sums.index_add_(1, place, responses.double() * sign)


@lru_cache(maxsize=128)
def _directions(units: int, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (unit,) the sum that each unit enters, and (unit,) its sign there."""
    draws = Draws(seed, np.arange(units), 2, Stream.PROJECTION).uniform()
    order = np.argsort(draws[:, _ORDER], kind="stable")
    place = np.empty(units, np.int64)
    place[order] = np.arange(units) % dims
    return place, np.where(draws[:, _SIGN] < 0.5, -1.0, 1.0)
