"""Responses of a fixed number of samples, for formulas that compare every pair of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.base import Statistic, with_buckets
from invariscope.statistics.counts.bin_pilot import chosen_units, responses_of
from invariscope.statistics.kept.drawn_subset import of_stratum, smallest
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.kept.top_choices import moving


@dataclass
class KeptState:
    """The samples with the smallest drawn numbers of each bucket.

    Args:
        counts: (bucket,) samples.
        chosen: (chosen,) units by their position in the flat layer.
        keys: (kept,) uint64 the drawn number of each kept sample.
        buckets: (kept,) the bucket in which it is kept.
        rows: (kept, 1 + element, chosen) responses, the untransformed input's first.
        moving: (element,) 0 for the identity.
    """

    counts: np.ndarray
    chosen: np.ndarray
    keys: np.ndarray
    buckets: np.ndarray
    rows: np.ndarray
    moving: np.ndarray


@dataclass(frozen=True)
class KeptResponses(Statistic):
    """Untransformed and transformed responses of a few samples, chosen by a hash of their positions.

    Which samples are kept depends neither on their order nor on blocks, processes or a resume. The final
    table has the columns "rest" (sample, unit), "orbits" (sample, element, unit) and "moving" (sample,
    element), 0 for the identity. Needs the responses to the probe "identity".

    Args:
        samples: how many of a stratum are kept.
        units: how many of a larger layer's units, chosen by a hash too.
        seed: of both.
    """

    samples: int
    units: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Orbits of `samples` samples."""
        return 4 * self.samples * (1 + elements) * min(units, self.units)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> KeptState:
        """Nothing kept, and the choice of units."""
        chosen = chosen_units(int(np.prod(block.values.shape[1:])), self.units, seed=self.seed)
        rows = _rows(block, chosen, np.zeros(0, np.int64))
        nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        flags = moving(block)[0].copy()
        return KeptState(np.zeros(buckets, np.int64), chosen, *nothing, rows, flags)

    def update(self, state: KeptState, block: Block) -> None:
        """Adds the block's samples, and forgets those whose number is too large."""
        keys = drawn_words(block.keys, self.seed, Stream.KEPT_RESPONSE)
        wanted, into = [], []
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            mine = state.keys[state.buckets == bucket]
            few = samples[np.argsort(keys[samples], kind="stable")[: self.samples]]
            wanted.append(few[keys[few] < mine.max()] if len(mine) >= self.samples else few)
            into.append(np.full(len(wanted[-1]), bucket))
        chosen = np.concatenate(wanted)
        rows = _rows(block, state.chosen, chosen)
        self._keep(state, keys[chosen], np.concatenate(into), rows)

    def _keep(self, state: KeptState, keys: np.ndarray, buckets: np.ndarray, rows: np.ndarray) -> None:
        """Adds samples, and keeps the smallest numbers of each bucket."""
        keys, buckets = np.concatenate([state.keys, keys]), np.concatenate([state.buckets, buckets])
        kept = smallest(keys, buckets, self.samples)
        state.keys, state.buckets = keys[kept], buckets[kept]
        state.rows = np.concatenate([state.rows, rows])[kept]

    def enlarge(self, state: KeptState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)

    def pack(self, state: KeptState) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return dict(vars(state))

    def unpack(self, arrays: dict[str, np.ndarray]) -> KeptState:
        """The state from arrays."""
        return KeptState(**arrays)

    def merge(self, first: KeptState, second: KeptState) -> KeptState:
        """The smallest numbers of both."""
        merged = replace(first, counts=first.counts + second.counts)
        self._keep(merged, second.keys, second.buckets, second.rows)
        return merged

    def finalize(self, state: KeptState, groups: list[list[int]]) -> SampleTable:
        """The kept samples of the stratum, with the group of each."""
        rows, group = of_stratum(state.keys, state.buckets, groups, self.samples)
        responses = state.rows[rows].astype(np.float64)
        columns = {
            "rest": responses[:, 0],
            "orbits": responses[:, 1:],
            "moving": np.broadcast_to(state.moving, (len(rows), len(state.moving))),
        }
        return SampleTable(columns, group, len(groups))


def _rows(block: Block, units: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(sample, 1 + element, unit) responses of the given samples."""
    columns = np.array([*block.probes["identity"], *range(block.elements)])
    return responses_of(block.values, units)[block.rows_of(samples, columns)]
