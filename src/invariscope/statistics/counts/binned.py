"""Counts of binned responses by element and by class, and the information computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.statistics.base import Statistic, with_buckets
from invariscope.statistics.counts.bin_kernel import BINS, count_bins, mutual_information
from invariscope.statistics.counts.bin_pilot import BinPilot, Bins, element_orders, responses_of
from invariscope.statistics.counts.firing_kernel import at_most
from invariscope.statistics.visits import Visits

_COUNTS = ("counts", "by_element", "by_class")


@dataclass
class BinState:
    """Counts of binned responses, and the bins.

    Args:
        counts: (bucket,) number of samples.
        by_element: (bucket, draw, element, unit, bin); draw 0 is the data, the others are permuted.
        by_class: (bucket, draw, class, unit, bin) likewise; empty without labels.
        bins: the bins, and the labels of all samples.
    """

    counts: np.ndarray
    by_element: np.ndarray
    by_class: np.ndarray
    bins: Bins

    @property
    def double(self) -> bool:
        """Whether the activations were float64."""
        return self.bins.double


@dataclass(frozen=True)
class InformationBits:
    """Information of each selected unit in bits.

    Args:
        shape: the layer's unit shape.
        chosen: (chosen,) the examined units, as positions in the flat layer.
        single: (chosen,) units whose responses all fall into one bin.
        elements: number of elements.
        about_element, about_class: (replicate, chosen) bits, with the mean over permutations subtracted.
        entropy: (replicate,) entropy of the class, in bits.
        together: uncorrected bits, including those without any two groups; None if there are fewer than three
            groups.
    """

    shape: tuple[int, ...]
    chosen: np.ndarray
    single: np.ndarray
    elements: int
    about_element: np.ndarray
    about_class: np.ndarray
    entropy: np.ndarray
    together: Together | None = None


@dataclass(frozen=True)
class Together:
    """Uncorrected bits, from which the pairwise effects of groups of samples are estimated.

    Args:
        pairs: (pair, 2) the two groups of each pair.
        sizes: (group,) number of samples.
        about_element, about_class: (1 + groups + pairs, chosen) bits for all samples, without each group, and
            without each pair of groups.
    """

    pairs: np.ndarray
    sizes: np.ndarray
    about_element: np.ndarray
    about_class: np.ndarray


@dataclass(frozen=True)
class BinCounts(Statistic):
    """Counts by bin and element and, with labels, by bin and class, for the data and for permutations.

    Elements are permuted within each sample, and labels across all samples. Every draw is keyed by (seed,
    sample key).

    Args:
        units: number of units examined per layer.
        samples: number of untransformed samples that determine the bins.
        permutations: number of permutations of each kind.
        labels: whether to count by class.
        seed: seed of every selection and draw.
    """

    units: int
    samples: int
    permutations: int
    labels: bool
    seed: int

    @property
    def pilot(self) -> BinPilot:
        """The statistic that determines the bins."""
        return BinPilot(self.units, self.samples, self.labels, self.seed)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the counts by element; the pilot determines the number of classes."""
        return 4 * (1 + self.permutations) * elements * min(units, self.units) * BINS

    def piloted_bytes(self, units: int, elements: int, pilot: Bins) -> int:
        """Return the bytes needed for the counts by element and by class."""
        each = (1 + self.permutations) * len(pilot.chosen) * BINS
        by_element, by_class = _kinds(pilot, elements)
        return each * (elements * by_element.itemsize + pilot.classes * by_class.itemsize)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BinState:
        """Return zero counts."""
        by_element, by_class = _kinds(pilot, block.elements)
        outer, inner = (buckets, 1 + self.permutations), (len(pilot.chosen), BINS)
        return BinState(
            np.zeros(buckets, np.int64),
            np.zeros((*outer, block.elements, *inner), by_element),
            np.zeros((*outer, pilot.classes, *inner), by_class),
            pilot,
        )

    def update(self, state: BinState, block: Block) -> None:
        """Count a block's orbits."""
        block = state.bins.known(block)
        if not block.samples:
            return
        rows = responses_of(block.values, state.bins.chosen)
        samples, elements = np.arange(block.samples), np.arange(block.elements)
        key = np.ascontiguousarray(block.keys, np.int64).tobytes()
        orders = _orders(self.seed, self.permutations, block.elements, key)
        classes = state.bins.permuted(block.keys, self.permutations, self.seed)
        visits = Visits.of(block.membership, block.clusters)
        count_bins(
            rows,
            block.rows_of(samples, elements),
            at_most(state.bins.edges, rows.dtype),
            orders,
            classes,
            visits,
            state.by_element,
            state.by_class,
        )
        state.counts[visits.buckets] += visits.sizes

    def enlarge(self, state: BinState, buckets: int) -> None:
        """Append empty buckets."""
        for name in _COUNTS:
            setattr(state, name, with_buckets(getattr(state, name), buckets))

    def pack(self, state: BinState) -> dict[str, np.ndarray]:
        """Return the counts as arrays."""
        own = {name: getattr(state, name) for name in _COUNTS}
        return own | {f"bins.{name}": array for name, array in state.bins.pack().items()}

    def unpack(self, arrays: dict[str, np.ndarray]) -> BinState:
        """Restore the counts from arrays."""
        bins = Bins.unpack({name[5:]: array for name, array in arrays.items() if name.startswith("bins.")})
        return BinState(**{name: arrays[name] for name in _COUNTS}, bins=bins)

    def merge(self, first: BinState, second: BinState) -> BinState:
        """Return the sum of both counts."""
        sums = {name: getattr(first, name) + getattr(second, name) for name in _COUNTS}
        return BinState(**sums, bins=first.bins)

    def finalize(self, state: BinState, groups: list[list[int]]) -> InformationBits:
        """Return bits for all groups together, and with each group left out."""
        by_element, by_class = (_Replicates(counts, groups) for counts in (state.by_element, state.by_class))
        sizes = np.array([state.counts[group].sum() for group in groups])
        return InformationBits(
            shape=state.bins.shape,
            chosen=state.bins.chosen,
            single=(by_element.whole[0].sum(axis=0) > 0).sum(axis=-1) < 2,
            elements=state.by_element.shape[2],
            about_element=np.stack([_unbiased(counts) for counts in by_element]),
            about_class=np.stack([_unbiased(counts) for counts in by_class]),
            entropy=np.array([_entropy(counts[0, :, 0].sum(axis=-1)) for counts in by_class]),
            together=_together(by_element, by_class, sizes) if len(groups) > 2 else None,
        )


@dataclass(frozen=True)
class _Replicates:
    """(draw, row, unit, bin) counts by group of buckets, to be summed with groups left out."""

    counts: np.ndarray
    groups: list[list[int]]

    @cached_property
    def whole(self) -> np.ndarray:
        """Counts of all groups."""
        return self._of([bucket for group in self.groups for bucket in group])

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self.whole
        if len(self.groups) > 1:
            yield from (self.whole - self._of(group) for group in self.groups)

    def plain(self, pairs: np.ndarray) -> np.ndarray:
        """Return (1 + group + pair, unit) uncorrected bits: for all groups, without one, and without two."""
        parts = [self.counts[group, 0].sum(axis=0, dtype=self.counts.dtype) for group in self.groups]
        left_out = [[], *([g] for g in range(len(parts))), *pairs.tolist()]
        rest = np.stack([self.whole[0] - sum(parts[g] for g in few) for few in left_out])
        return mutual_information(rest)

    def _of(self, buckets: list[int]) -> np.ndarray:
        return self.counts[buckets].sum(axis=0, dtype=self.counts.dtype)


def _together(by_element: _Replicates, by_class: _Replicates, sizes: np.ndarray) -> Together:
    pairs = np.array(list(combinations(range(len(sizes)), 2)))
    return Together(pairs, sizes, by_element.plain(pairs), by_class.plain(pairs))


def _unbiased(counts: np.ndarray) -> np.ndarray:
    """Return the (unit,) bits of the data minus the mean of those of permutations."""
    bits = mutual_information(counts)
    return bits[0] - bits[1:].mean(axis=0) if len(bits) > 1 else bits[0]


def _entropy(sizes: np.ndarray) -> float:
    shares = sizes[sizes > 0] / max(sizes.sum(), 1)
    return float(-(shares * np.log2(shares)).sum())


def _kinds(bins: Bins, elements: int) -> tuple[np.dtype, np.dtype]:
    """Return the smallest integer types that can hold counts by element (one per sample) and by class."""
    return np.min_scalar_type(bins.samples), np.min_scalar_type(bins.samples * elements)


@lru_cache(maxsize=4)
def _orders(seed: int, permutations: int, elements: int, key: bytes) -> np.ndarray:
    """Return (sample, 1 + permutations, element) positions, cached since all layers of a block need them."""
    keys = np.frombuffer(key, np.int64)
    found = element_orders(keys, permutations, elements, seed=seed)
    plain = np.broadcast_to(np.arange(elements), (len(keys), 1, elements))
    return np.ascontiguousarray(np.concatenate([plain, found], axis=1))
