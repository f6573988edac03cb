"""Squared distances between the untransformed samples, pair by pair, within a drawn subset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.base import Statistic, with_buckets
from invariscope.statistics.kept.drawn_subset import of_stratum, smallest


@dataclass
class DistanceState:
    """The samples of each bucket with the smallest drawn numbers.

    Args:
        counts: (bucket,) samples met.
        keys: (kept,) uint64 drawn numbers.
        buckets: (kept,) the bucket of each.
        rest: (kept, unit) responses to the untransformed samples, float32 or float64 as they came.
    """

    counts: np.ndarray
    keys: np.ndarray
    buckets: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class PairDistances:
    """(sample, sample) squared distances within the subset, and the jackknife group of each sample."""

    squares: np.ndarray
    group: np.ndarray
    groups: int

    def medians(self, *, diagonal: bool = False) -> np.ndarray:
        """(replicate,) median over ordered pairs of different samples, or over all pairs; NaN for none."""
        left_out = [-1, *range(self.groups)] if self.groups > 1 else [-1]
        return np.array([self._median(self.group != group, diagonal) for group in left_out])

    def _median(self, kept: np.ndarray, diagonal: bool) -> float:
        squares = self.squares[np.ix_(kept, kept)]
        chosen = squares if diagonal else squares[~np.eye(len(squares), dtype=bool)]
        return float(np.median(chosen)) if chosen.size else float("nan")


@dataclass(frozen=True)
class DistanceReservoir(Statistic):
    """Responses to the untransformed samples with the smallest drawn numbers: as `Reservoir`, without orbits.

    The probe `Identity` must be among those forwarded.

    Args:
        size: how many samples of a stratum are compared, all pairs of them.
        seed: of the draw, which a sample's position in the data set decides.
    """

    size: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Responses of `size` samples."""
        return 4 * self.size * units

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> DistanceState:
        """An empty state."""
        rest = _responses(block)[:0]
        return DistanceState(np.zeros(buckets, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.int64), rest)

    def update(self, state: DistanceState, block: Block) -> None:
        """Adds the block's samples."""
        keys, rest = drawn_words(block.keys, self.seed, Stream.DISTANCE_RESERVOIR), _responses(block)
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            state.keys = np.concatenate([state.keys, keys[samples]])
            state.buckets = np.concatenate([state.buckets, np.full(len(samples), bucket)])
            state.rest = np.concatenate([state.rest, rest[samples]])
        self._cut(state)

    def _cut(self, state: DistanceState) -> None:
        """Drops all but the smallest numbers of each bucket."""
        rows = smallest(state.keys, state.buckets, self.size)
        state.keys, state.buckets, state.rest = state.keys[rows], state.buckets[rows], state.rest[rows]

    def enlarge(self, state: DistanceState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)

    def pack(self, state: DistanceState) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return dict(vars(state))

    def unpack(self, arrays: dict[str, np.ndarray]) -> DistanceState:
        """The state from arrays."""
        return DistanceState(**arrays)

    def merge(self, first: DistanceState, second: DistanceState) -> DistanceState:
        """The smallest numbers of both."""
        both = {
            name: np.concatenate([getattr(first, name), getattr(second, name)])
            for name in ("keys", "buckets", "rest")
        }
        merged = replace(first, counts=first.counts + second.counts, **both)
        self._cut(merged)
        return merged

    def finalize(self, state: DistanceState, groups: list[list[int]]) -> PairDistances:
        """All pairs of the subset of the given groups of buckets."""
        rows, group = of_stratum(state.keys, state.buckets, groups, self.size)
        rest = state.rest[rows].astype(np.float64)
        squares = np.stack([np.square(rest - row).sum(axis=1) for row in rest])
        return PairDistances(squares, group, len(groups))


def _responses(block: Block) -> np.ndarray:
    """(sample, unit) responses to the untransformed inputs, on the host."""
    rest = block.probe("identity")[:, 0].detach().flatten(1).cpu()
    return (rest if rest.element_size() == 8 else rest.float()).numpy()
