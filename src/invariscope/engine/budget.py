"""Choose the buckets of each state so that all sums fit the memory budget."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeAlias

import numpy as np

from invariscope.common.wording import listed
from invariscope.engine.plan import Strata
from invariscope.intervals import ENOUGH, GROUPS, MIN_PER_GROUP
from invariscope.readers.base import LayerKey
from invariscope.statistics.base import Statistic

StateKey: TypeAlias = tuple[LayerKey, Statistic]

_FLOAT = 4
# Classes whose sums need more than this, or more than those of ten classes, are walked in turn, if possible.
PLENTY, FEW_CLASSES = 32 << 20, 10


@dataclass(frozen=True)
class Size:
    """Memory of the sums of one state, or of several, in bytes.

    Args:
        bucket: per bucket.
        stratum: per stratum, in addition to its buckets.
    """

    bucket: int
    stratum: int

    def of(self, strata: Strata) -> int:
        """Return the bytes that these strata take."""
        return self.bucket * strata.sums + self.stratum * strata.references

    @property
    def twice(self) -> Size:
        """The memory of two such states."""
        return Size(2 * self.bucket, 2 * self.stratum)

    @classmethod
    def total(cls, sizes: Iterable[Size]) -> Size:
        """Return the memory of all states together."""
        sizes = list(sizes)
        return cls(sum(size.bucket for size in sizes), sum(size.stratum for size in sizes))


def activation_bytes(units: Sequence[int], shape: tuple[int, ...]) -> int:
    """Return the memory per input of a forward: the input, and the two largest layers at the same time.

    Args:
        units: values per input of each layer.
        shape: shape of an input.

    >>> activation_bytes([100, 5, 20], (3, 10))
    600
    """
    return _FLOAT * (sum(sorted(units)[-2:]) + math.prod(shape))


def settle(strata: Strata, *, intervals: bool, cells: np.ndarray | None, ordered: bool = False) -> None:
    """Give up groups, or those of single classes, if they are of no use.

    Args:
        strata: the finest strata, changed in place.
        cells: cells of all samples, if known beforehand.
        ordered: whether the order of the data within each stratum matters. All samples then need sums of
            their own, because they are not the sum of their classes.
    """
    if not intervals:
        strata.groups, strata.why = 1, "intervals were switched off"
    if strata.by_class and ordered:
        strata.nested = False
        strata.why = strata.why or "a preset that follows the order of the data has none for classes"
    elif intervals and strata.by_class and not _useful(strata, cells):
        strata.nested = False
        strata.why = f"no class has {MIN_PER_GROUP} samples in each group; {ENOUGH}"


def choose_buckets(
    strata: Strata, sizes: Mapping[StateKey, Size], *, budget: int, spent: int = 0, ordered: bool = False
) -> dict[StateKey, Strata]:
    """Return the strata of the states whose buckets must be coarser than those of `strata`.

    As long as the sums of all states exceed what is left of the budget, the largest one gives up the
    intervals of its classes, or all of its intervals.

    Args:
        sizes: memory of each state.
        budget: memory in bytes.
        spent: bytes of the budget that are needed for other things.
        ordered: see `settle`; the strata then keep their buckets.
    Raises:
        ValueError: not even one bucket per stratum fits the budget.
    """
    total = Size.total(sizes.values())
    if ordered and strata.by_class:
        other = "leave out intervals (intervals=False, --no-intervals), " if strata.groups > 1 else ""
        refuse_too_large(total.of(strata), budget, f"{strata.strata} classes", other)
        return {}
    other = "leave out single classes (by_class=False, no --by-class), " if strata.strata > 1 else ""
    refuse_too_large(total.of(strata.coarse("")), budget, f"{strata.strata} strata", other)
    if strata.groups == 1:
        return {}
    needed = f"the sums of {GROUPS} jackknife groups would need {_gib(total.of(strata))}"
    needed += f", of which {_gib(max(budget - spent, 0))} are left: raise memory_gb"
    return _fitting(strata, sizes, budget - spent, needed)


def classes_at_once(strata: Strata, sizes: Mapping[StateKey, Size], *, left: int) -> tuple[int, str]:
    """Return how many classes to walk at once, and why not all of them.

    While some are walked, the sums over the finished ones take as much memory again.

    Args:
        left: bytes that are left for sums.
    """
    total = Size.total(sizes.values())

    def needed(classes: int, of: Strata = strata) -> int:
        return total.of(replace(of, classes=dict.fromkeys(range(classes), 0)))

    most = min(left, max(PLENTY, needed(FEW_CLASSES, Strata(True, groups=strata.groups))))
    if strata.strata < 2 or needed(strata.strata) <= most:
        return strata.strata, ""
    each = needed(2) - needed(1)
    few = min(max(1 + (most // 2 - needed(1)) // max(each, 1), 1), strata.strata)
    return few, f"the sums of all {strata.strata} classes together would need {_gib(needed(strata.strata))}"


def _useful(strata: Strata, cells: np.ndarray | None) -> bool:
    """Return whether any class has enough samples for an interval of its own; True if unknown."""
    if cells is None:
        return True
    filled = np.bincount(cells, minlength=strata.strata * GROUPS).reshape(strata.strata, GROUPS)
    return bool(filled.min(axis=1).max() >= MIN_PER_GROUP)


def _fitting(strata: Strata, sizes: Mapping[StateKey, Size], left: int, why: str) -> dict[StateKey, Strata]:
    """Return the coarser strata of the largest states, so that all of them fit what is left of the budget."""
    coarser = [strata.coarse(why)]
    if strata.by_class and strata.nested and strata.crossed(why).sums < strata.sums:
        coarser.insert(0, strata.crossed(why))
    found: dict[StateKey, Strata] = {}
    order = count()
    heap = [(-size.of(strata), next(order), key, 0) for key, size in sizes.items() if size.bucket]
    used = sum(size.of(strata) for size in sizes.values())
    heapq.heapify(heap)
    while used > left and heap:
        negative, place, key, level = heapq.heappop(heap)
        found[key] = coarser[level]
        smaller = sizes[key].of(coarser[level])
        used += negative + smaller
        if level + 1 < len(coarser):
            heapq.heappush(heap, (-smaller, place, key, level + 1))
    return found


def notes_on(strata: Strata, coarser: Mapping[StateKey, Strata], layers: int) -> list[str]:
    """Return notes on layers whose intervals, or per-class intervals, are omitted for lack of memory.

    Args:
        strata: the finest strata.
        coarser: the strata of states that do not fit.
        layers: number of layers.
    """
    if strata.groups == 1:
        return [f"no intervals: {strata.why}"]
    found = []
    for merged, what in ((True, "no intervals"), (False, "no intervals of classes")):
        own = {key[0]: entry.why for (key, _), entry in coarser.items() if entry.merged == merged}
        if own:
            where = f" for {len(own)} of {layers} layers ({listed(own)})" if len(own) < layers else ""
            found.append(f"{what}{where}: {next(iter(own.values()))}")
    return found


def refuse_too_large(needed: int, budget: int, what: str, other: str = "") -> None:
    """Raise ValueError if sums of this many bytes exceed the budget.

    Args:
        what: whose sums these are.
        other: a further remedy, with a comma.
    """
    if needed > budget:
        raise ValueError(
            f"the sums of {what} need {_gib(needed)}, but the budget is {_gib(budget)}. "
            f"Select fewer layers (layers=, --layers), units (units=, --units) or elements, {other}or raise "
            "memory_gb (--memory-gb)."
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
