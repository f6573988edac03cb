"""Responses of a seeded, order-independent subset of each bucket: the samples with the smallest hashes."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from invariscope.block import Block
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.base import Statistic, with_buckets


@dataclass
class DrawnState:
    """The samples of each bucket with the smallest hashes.

    Args:
        counts: (bucket,) number of samples seen.
        keys: (kept,) uint64 hashes.
        buckets: (kept,) each sample's bucket.
        rows: (kept, ...) float32 or float64 responses.
        sums: (bucket, ...) further sums over all samples, by name.
        facts: arrays that are equal in all states of a layer.
    """

    counts: np.ndarray
    keys: np.ndarray
    buckets: np.ndarray
    rows: np.ndarray
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def double(self) -> bool:
        """Whether the activations were float64."""
        return self.rows.dtype == np.float64


class DrawnStatistic(Statistic):
    """Responses of `size` samples per stratum, drawn by `seed` and the samples' keys.

    The selection does not depend on the order of the samples, on blocks or processes, or on resuming.
    """

    size: int
    seed: int
    stream: ClassVar[Stream]

    @abc.abstractmethod
    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return the (sample, ...) responses to keep for the given samples."""

    def facts(self, block: Block) -> dict[str, np.ndarray]:
        """Return facts about the layer that `rows` needs; usually none."""
        return {}

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> DrawnState:
        """Return an empty state."""
        nothing, facts = np.zeros(0, np.int64), self.facts(block)
        rows = self.rows(block, nothing, facts)
        counts = np.zeros(buckets, np.int64)
        return DrawnState(counts, np.zeros(0, np.uint64), nothing, rows, facts=facts)

    def update(self, state: DrawnState, block: Block) -> None:
        """Add the block's samples, and drop those whose hash is too large."""
        keys = drawn_words(block.keys, self.seed, self.stream)
        chosen, into = [], []
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            mine = state.keys[state.buckets == bucket]
            few = samples[np.argsort(keys[samples], kind="stable")[: self.size]]
            chosen.append(few[keys[few] < mine.max()] if len(mine) >= self.size else few)
            into.append(np.full(len(chosen[-1]), bucket))
        wanted = np.concatenate(chosen)
        if len(wanted):
            rows = self.rows(block, wanted, state.facts)
            self._keep(state, keys[wanted], np.concatenate(into), rows)

    def _keep(self, state: DrawnState, keys: np.ndarray, buckets: np.ndarray, rows: np.ndarray) -> None:
        """Add samples, and keep the smallest hashes of each bucket."""
        keys, buckets = np.concatenate([state.keys, keys]), np.concatenate([state.buckets, buckets])
        kept = smallest(keys, buckets, self.size)
        state.keys, state.buckets = keys[kept], buckets[kept]
        state.rows = np.concatenate([state.rows, rows])[kept]

    def enlarge(self, state: DrawnState, buckets: int) -> None:
        """Append empty buckets."""
        state.counts = with_buckets(state.counts, buckets)
        state.sums = {name: with_buckets(part, buckets) for name, part in state.sums.items()}

    def pack(self, state: DrawnState) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        plain = {name: getattr(state, name) for name in _ARRAYS}
        parts = {f"{kind}.{name}": a for kind in _NAMED for name, a in getattr(state, kind).items()}
        return plain | parts

    def unpack(self, arrays: dict[str, np.ndarray]) -> DrawnState:
        """Restore the state from arrays."""
        counts, keys, buckets, rows = (arrays[name] for name in _ARRAYS)
        state = DrawnState(counts, keys, buckets, rows)
        for name in arrays.keys() - set(_ARRAYS):
            kind, _, own = name.partition(".")
            getattr(state, kind)[own] = arrays[name]
        return state

    def merge(self, first: DrawnState, second: DrawnState) -> DrawnState:
        """Return the samples of both with the smallest hashes."""
        sums = {name: part + second.sums[name] for name, part in first.sums.items()}
        merged = replace(first, counts=first.counts + second.counts, sums=sums)
        self._keep(merged, second.keys, second.buckets, second.rows)
        return merged

    def drawn(self, state: DrawnState, groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the (kept, ...) rows drawn from all given buckets together, and their (kept,) groups."""
        group = np.full(len(state.keys), -1)
        for number, members in enumerate(groups):
            group[np.isin(state.buckets, members)] = number
        places = np.flatnonzero(group >= 0)
        places = places[np.argsort(state.keys[places], kind="stable")[: self.size]]
        return state.rows[places], group[places]


_ARRAYS, _NAMED = ("counts", "keys", "buckets", "rows"), ("sums", "facts")


def smallest(keys: np.ndarray, buckets: np.ndarray, size: int) -> np.ndarray:
    """Return the positions of the `size` smallest keys of each bucket.

    >>> smallest(np.array([5, 1, 3, 2]), np.array([0, 0, 0, 1]), 2).tolist()
    [1, 2, 3]
    """
    order = np.lexsort((keys, buckets))
    _, starts, sizes = np.unique(buckets[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return order[rank < size]


def without_groups(group: np.ndarray, groups: int) -> list[np.ndarray]:
    """Return (replicate, kept) masks: all samples; then, for two or more groups, all but each group's."""
    return [group != left_out for left_out in [-1, *range(groups if groups > 1 else 0)]]
