"""Firing rates: thresholds from the untransformed inputs, then counts along orbits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.draws import Draws, Stream
from invariscope.statistics.base import Statistic, sums_of_groups, with_buckets
from invariscope.statistics.counts.firing_kernel import at_most, count_firing, keep_largest
from invariscope.statistics.errors import finite
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.sums import BucketSums, SumStatistic
from invariscope.statistics.visits import Visits

SIGNS = (1, -1)
_LEAST = 1024  # smallest number of samples that determine the thresholds, if memory is short
_MARGIN = 1e-9  # relative to a unit's largest response: smaller excesses over the threshold are rounding


@dataclass(frozen=True)
class Thresholds:
    """(2, unit) values that a response, and its negative, must exceed to count as firing.

    Args:
        samples, seen: number of samples used, and number seen.
    """

    values: np.ndarray
    samples: int
    seen: int


@dataclass
class TopState:
    """The largest responses and the largest negated responses of each unit so far.

    Args:
        counts: (bucket,) number of samples used, all in the first bucket.
        seen: number of samples seen.
        level: a sample is used with probability 2^-level.
        largest: (2, unit, kept) heaps with the smallest value first.
    """

    counts: np.ndarray
    seen: int
    level: int
    largest: np.ndarray


@dataclass(frozen=True)
class TopResponses(Statistic):
    """Each unit's exact 1 − alpha quantile, from as many of its largest responses as needed.

    If these do not fit in memory, only a share of 2⁻ᵏ of the samples is used, selected by a hash, for the
    smallest k that suffices.

    Args:
        alpha: share of the samples above the threshold.
        seed: seed of the hash.
    """

    alpha: float
    seed: int = 0

    sized: ClassVar[bool] = True

    @property
    def drawable(self) -> bool:
        """Return True: each unit has its own threshold."""
        return True

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes that the smallest subset of samples needs; more are used only if available."""
        return 8 * len(SIGNS) * units * self.kept(_LEAST)

    def kept(self, samples: int) -> int:
        """Return how many of the largest values are needed to interpolate the quantile of all samples.

        >>> TopResponses(0.01).kept(101), TopResponses(0.25).kept(4)
        (2, 2)
        """
        return samples - int((samples - 1) * (1 - self.alpha))

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> TopState:
        """Return empty heaps, of the length that the number of samples requires."""
        assert block.total is not None
        units, kind = block.values[0].numel(), _plain(block.values[:1]).dtype
        room = block.unit_bytes / (len(SIGNS) * kind.itemsize)
        level = 0
        while self.kept(most(block.total, level)) > room and block.total >> level > _LEAST:
            level += 1
        shape = (len(SIGNS), units, self.kept(most(block.total, level)))
        return TopState(np.zeros(buckets, np.int64), 0, level, np.full(shape, -np.inf, kind))

    def update(self, state: TopState, block: Block) -> None:
        """Insert the block's responses that are among the largest."""
        chosen = np.arange(block.samples)
        if state.level:
            drawn = Draws(self.seed, block.keys, stream=Stream.FIRING_SAMPLE).uniform()[:, 0]
            chosen = np.flatnonzero(drawn < 0.5**state.level)
        rows = _plain(block.values)[block.rows_of(chosen, np.arange(1))[:, 0]]
        state.counts[0] += len(chosen)
        state.seen += block.samples
        keep_largest(rows, state.largest)

    def enlarge(self, state: TopState, buckets: int) -> None:
        """Append empty buckets."""
        state.counts = with_buckets(state.counts, buckets)

    def pack(self, state: TopState) -> dict[str, np.ndarray]:
        """Return the heaps as arrays."""
        facts = np.array([state.seen, state.level])
        return {"counts": state.counts, "facts": facts, "largest": state.largest}

    def unpack(self, arrays: dict[str, np.ndarray]) -> TopState:
        """Restore the heaps from arrays."""
        seen, level = arrays["facts"].tolist()
        return TopState(arrays["counts"], seen, level, arrays["largest"])

    def merge(self, first: TopState, second: TopState) -> TopState:
        """Return the largest responses of both."""
        both = np.concatenate([first.largest, second.largest], axis=-1)
        largest = np.sort(both, axis=-1)[..., -first.largest.shape[-1] :]
        return TopState(
            first.counts + second.counts, first.seen + second.seen, first.level, np.ascontiguousarray(largest)
        )

    def finalize(self, state: TopState, groups: list[list[int]]) -> Thresholds:
        """Return the thresholds, which depend on all samples, whatever the groups."""
        samples = int(state.counts.sum())
        place = (samples - 1) * (1 - self.alpha)
        rank = samples - 1 - int(place)
        falling = np.sort(state.largest, axis=-1)[..., ::-1][..., : rank + 1].astype(np.float64)
        below, above, top = falling[..., rank], falling[..., max(rank - 1, 0)], falling[..., 0]
        found = below + (above - below) * (place - int(place)) + _MARGIN * np.abs(top)
        return Thresholds(found, samples, state.seen)

    def notes(self, final: Thresholds) -> tuple[str, ...]:
        """Return a note if the thresholds come from only some of the samples."""
        if final.samples == final.seen:
            return ()
        return (
            f"firing thresholds come from {final.samples} of {final.seen} samples, selected by a hash: the "
            "largest responses of all samples do not fit in memory (raise memory_gb)",
        )


def most(total: int, level: int) -> int:
    """Return an upper bound, at eight standard deviations, on the number of samples that a hash selects."""
    return total if not level else min(total, int(total / 2**level + 8 * (total / 2**level) ** 0.5) + 1)


@dataclass(frozen=True)
class FiringShares:
    """(replicate, sign, unit...) shares.

    Args:
        fires: share of samples that make the unit fire untransformed.
        stays: share of the orbit that makes it fire, averaged over those samples.
        anywhere: share of all responses, over orbits and samples, in which it fires.
        samples: number of samples.
    """

    fires: np.ndarray
    stays: np.ndarray
    anywhere: np.ndarray
    samples: int


@dataclass(frozen=True)
class FiringCounts(SumStatistic):
    """Counts of responses above the thresholds of all untransformed inputs.

    The sums "fires" (3, sign, unit) count the samples that make the unit fire untransformed, the elements
    that make it fire for those samples, and the elements that make it fire for any sample. The fact "bounds"
    (2, unit) holds the thresholds: the unit fires if its response is above the first or, for the negative
    sign, below the second. The fact "columns" is the number of elements in an orbit, including the
    untransformed input.

    Args:
        alpha, seed: see `TopResponses`.
    """

    reads = (Untransformed(),)
    alpha: float
    seed: int = 0

    @property
    def pilot(self) -> TopResponses:
        """The statistic that determines the thresholds."""
        return TopResponses(self.alpha, self.seed)

    @property
    def drawable(self) -> bool:
        """Return True: each unit has its own counts."""
        return True

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for three counts per unit and sign."""
        return 8 * 3 * len(SIGNS) * units

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return zero counts."""
        kind = np.dtype(np.float64 if block.values.dtype == torch.float64 else np.float32)
        high, low = at_most(pilot.values, kind)
        facts = {"bounds": np.stack([high, -low]), "columns": np.array([len(_columns(block))])}
        return BucketSums.empty(
            block, buckets, {"fires": (3, *pilot.values.shape)}, facts=facts, kind=np.int64
        )

    def update(self, state: BucketSums, block: Block) -> None:
        """Count a block's orbits."""
        rows = _plain(block.values)
        samples = np.arange(block.samples)
        places = block.rows_of(samples, _columns(block))
        first = block.rows_of(samples, np.array(block.probes["identity"]))[:, 0]
        visits = Visits.of(block.membership, block.clusters)
        count_firing(rows, places, first, state.facts["bounds"], visits, state.sums["fires"])
        state.counts[visits.buckets] += visits.sizes

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> FiringShares:
        """Return shares of the samples in the groups, using all samples' thresholds; NaN if nothing fires."""
        samples = sums_of_groups(state.counts, groups)
        sums, columns = state.replicates("fires", groups), state.facts["columns"].item()
        fires, stays, anywhere = sums.reshape(*sums.shape[:3], *state.shape).swapaxes(0, 1)
        samples = samples.reshape(-1, *(1 for _ in fires.shape[1:]))
        share = partial(np.true_divide, where=fires > 0, out=np.full(fires.shape, np.nan))
        orbits = samples * columns
        local = share(stays, fires * columns)
        return FiringShares(fires / samples, local, anywhere / orbits, int(samples.flat[0]))


def _columns(block: Block) -> np.ndarray:
    """Return the columns of the elements, and of the untransformed input if it is not one of them."""
    return np.unique([*range(block.elements), *block.probes["identity"]])


def _plain(values: Tensor) -> np.ndarray:
    """Return contiguous (row, unit) responses in float32 or float64.

    Raises:
        NonFiniteError: a response is NaN or infinite.
    """
    values = values if values.dtype in (torch.float32, torch.float64) else values.float()
    values = finite(values)
    return values.reshape(len(values), -1).contiguous().cpu().numpy()
