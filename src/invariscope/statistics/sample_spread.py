"""How far the untransformed samples lie apart in a layer: the scale of every displacement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from invariscope.block import Block
from invariscope.statistics.base import Statistic, replicate_sums, with_buckets
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.rounding import without_rounding
from invariscope.statistics.spread_kernel import add_offsets
from invariscope.statistics.visits import Visits

_SUMS = ("counts", "sums", "squares")


@dataclass
class SpreadState:
    """Sums by bucket of h_i = f(x_i) − p, for the response p to one sample of the bucket's stratum.

    Args:
        fixed: (stratum, unit) p.
        counts: (bucket,) samples.
        sums: (bucket, unit) Σ_i h_i.
        squares: (bucket,) Σ_i ‖h_i‖².
    """

    fixed: FixedPoints
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class Spread:
    """Mean squared distances between samples, by replicate.

    Args:
        samples: (replicate,) number of samples.
        variance: (replicate,) Σ_u ⟨f_u²⟩ − ⟨f_u⟩², the mean squared distance to the mean.
    """

    samples: np.ndarray
    variance: np.ndarray

    def distance(self, *, diagonal: bool = False) -> np.ndarray:
        """(replicate,) ⟨‖f(x) − f(z)‖²⟩ over ordered pairs of different samples, or over all n² pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 1.0 if diagonal else self.samples / (self.samples - 1)
            return 2 * self.variance * share


@dataclass(frozen=True)
class SampleSpread(Statistic):
    """Mean and mean square of the responses to untransformed samples, in float64, around one of each stratum.

    The probe `Identity` must be among those forwarded.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """A sum per unit."""
        return 8 * units

    def stratum_bytes(self, units: int, elements: int) -> int:
        """A response per unit."""
        return 8 * units

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> SpreadState:
        """An empty state."""
        units = math.prod(block.values.shape[1:])
        fixed = FixedPoints.empty(buckets, (units,))
        return SpreadState(fixed, np.zeros(buckets, np.int64), np.zeros((buckets, units)), np.zeros(buckets))

    def update(self, state: SpreadState, block: Block) -> None:
        """Adds the block's samples."""
        rows, visits = _responses(block), Visits.of(block.membership, None)
        state.fixed.meet(block.membership, lambda sample: rows[sample])
        state.counts[visits.buckets] += visits.sizes
        add_offsets(rows, state.fixed.values, visits, state.sums, state.squares)

    def enlarge(self, state: SpreadState, buckets: int) -> None:
        """Room for more buckets."""
        for name in _SUMS:
            setattr(state, name, with_buckets(getattr(state, name), buckets))
        state.fixed.enlarge(buckets)

    def pack(self, state: SpreadState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        return {name: getattr(state, name) for name in _SUMS} | state.fixed.pack()

    def unpack(self, arrays: dict[str, np.ndarray]) -> SpreadState:
        """The sums from arrays."""
        return SpreadState(FixedPoints.unpack(arrays), *(arrays[name] for name in _SUMS))

    def merge(self, first: SpreadState, second: SpreadState) -> SpreadState:
        """The sums of both, around the first one's points."""
        fixed = first.fixed.merged(second.fixed)
        moved = _around(second, fixed)
        return SpreadState(fixed, *(getattr(first, name) + getattr(moved, name) for name in _SUMS))

    def finalize(self, state: SpreadState, groups: list[list[int]]) -> Spread:
        """Mean squared distance to the mean, of the given groups of buckets."""
        shared = state.fixed.shared([bucket for members in groups for bucket in members])
        state = state if shared is None else _around(state, shared)
        counts, sums, squares = (
            replicate_sums(np.stack([part[members].sum(axis=0) for members in groups]).astype(float))
            for part in (state.counts, state.sums, state.squares)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, square = sums / counts[:, None], squares / counts
            varied = without_rounding(square - np.square(mean).sum(axis=1), square)
            return Spread(counts, np.maximum(varied, 0))


def _around(state: SpreadState, fixed: FixedPoints) -> SpreadState:
    """The same sums, had they been taken around other points."""
    move, count = state.fixed.moves_to(fixed), state.counts.astype(float)
    sums = state.sums + count[:, None] * move
    squares = state.squares + ((state.sums + sums) * move).sum(axis=1)
    return SpreadState(fixed, state.counts, sums, squares)


def _responses(block: Block) -> np.ndarray:
    """(sample, unit) responses to the untransformed inputs, in single precision at least."""
    found = block.probe("identity")[:, 0].detach().flatten(1).cpu()
    return (found if found.dtype in (torch.float32, torch.float64) else found.float()).contiguous().numpy()
