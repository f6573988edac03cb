"""Mean squared distance between untransformed samples in a layer, the scale of displacements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from invariscope.block import Block
from invariscope.statistics.compiling import compiled
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.rounding import quotient, without_rounding
from invariscope.statistics.sums import BucketSums, SumStatistic
from invariscope.statistics.visits import Visits

TILE = 1024  # units per tile, whose sums stay in the L1 cache
_OPTIONS: Any = {"boundscheck": False, "fastmath": {"reassoc"}}


@compiled(**_OPTIONS)
def _add_offsets(rows, pivots, samples, starts, buckets, strata, sums, squares):
    units = rows.shape[1]
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        for run in range(len(buckets)):
            into, total = sums[buckets[run], left:right], 0.0
            rest = pivots[strata[run], left:right]
            for i in samples[starts[run] : starts[run + 1]]:
                row = rows[i, left:right]
                for u in range(right - left):
                    away = np.float64(row[u]) - rest[u]
                    into[u] += away
                    total += away * away
            squares[buckets[run]] += total


def add_offsets(
    rows: np.ndarray, pivots: np.ndarray, visits: Visits, sums: np.ndarray, squares: np.ndarray
) -> None:
    """Add the offsets of responses from their stratum's pivot, and their squares, to their buckets.

    Args:
        rows: (sample, unit) responses.
        pivots: (stratum, unit) float64.
        visits: which samples are added to which buckets.
        sums: (bucket, unit) changed in place.
        squares: (bucket,) summed over units, changed in place.
    Raises:
        ValueError: sizes that do not match.
    """
    sample, bucket, stratum = visits.reach
    units = rows.shape[1:]
    refuse_sizes(
        pivots=(pivots.shape[1:], units),
        sums=(sums.shape[1:], units),
        squares=(squares.shape, sums.shape[:1]),
    )
    refuse_places(sample=(sample, len(rows)), bucket=(bucket, len(sums)), stratum=(stratum, len(pivots)))
    parts = (visits.samples, visits.edges, visits.buckets, visits.strata)
    _add_offsets(rows, pivots, *parts, sums, squares)


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
        """Return (replicate,) ⟨‖f(x) − f(z)‖²⟩ over ordered pairs of different samples, or all n² pairs."""
        share = 1.0 if diagonal else quotient(self.samples, self.samples - 1)
        with np.errstate(invalid="ignore"):
            return 2 * self.variance * share


@dataclass(frozen=True)
class SampleSpread(SumStatistic):
    """Mean and mean square of the responses to untransformed samples, relative to one sample per stratum.

    The float64 sums are "sums" (unit,) Σ_i h_i and "squares" Σ_i ‖h_i‖², with h_i = f(x_i) − p, where p is
    the response to one sample of the stratum.
    """

    reads = (Untransformed(),)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one sum per unit."""
        return 8 * units

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one response per unit."""
        return 8 * units

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return an empty state."""
        units = math.prod(block.values.shape[1:])
        return BucketSums.empty(block, buckets, {"sums": (units,), "squares": ()}, fixed=(units,))

    def update(self, state: BucketSums, block: Block) -> None:
        """Add the block's samples."""
        rows, visits = _responses(block), Visits.of(block.membership, None)
        state.points.meet(block.membership, lambda sample: rows[sample])
        state.counts[visits.buckets] += visits.sizes
        add_offsets(rows, state.points.values, visits, state.sums["sums"], state.sums["squares"])

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> dict[str, np.ndarray]:
        """Return the same sums, taken relative to other reference points."""
        move, old = state.points.moves_to(fixed), state.sums["sums"]
        sums = old + state.counts[:, None].astype(float) * move
        return {"sums": sums, "squares": state.sums["squares"] + ((old + sums) * move).sum(axis=1)}

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> Spread:
        """Return the mean squared distance to the mean, over the given groups of buckets."""
        state = self.together(state, groups)
        counts = state.samples(groups)
        mean = quotient(state.replicates("sums", groups), counts[:, None])
        square = quotient(state.replicates("squares", groups), counts)
        varied = without_rounding(square - np.square(mean).sum(axis=1), square)
        return Spread(counts, np.maximum(varied, 0))


def _responses(block: Block) -> np.ndarray:
    """Return (sample, unit) responses to the untransformed inputs, in at least single precision."""
    found = block.rest().detach().flatten(1).cpu()
    return (found if found.dtype in (torch.float32, torch.float64) else found.float()).contiguous().numpy()
