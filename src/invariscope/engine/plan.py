"""Divide samples into buckets and blocks of whole orbits that fit in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from invariscope.block import Membership
from invariscope.intervals import ENOUGH, GROUPS, MIN_PER_GROUP
from invariscope.statistics.class_labels import class_numbers
from invariscope.statistics.moments.references import FIRST

# Larger forwards are not faster on a CPU, since their activations no longer fit in the cache.
_CPU_ROWS, _DEVICE_ROWS = 512, 512
_CPU_BYTES, _DEVICE_BYTES = 16 << 20, 1 << 30
_LEAST_ROWS = 16
# Number of units of which `_LEAST_ROWS` inputs exceed the cache.
SMALL_LAYER = _CPU_BYTES // (4 * _LEAST_ROWS)


@dataclass
class Strata:
    """Classes by label (a digest if labels are strings), and the buckets in which samples are counted.

    A *cell* is a class × jackknife group. If nested, each cell has its own bucket, so that every class can
    have an interval. If crossed, a cell is counted in the bucket of its class and in the bucket of its
    group. This takes far fewer buckets, but only the values over all samples have intervals; `why` holds the
    reason for this choice.
    """

    by_class: bool
    groups: int = GROUPS
    nested: bool = True
    why: str = ""
    classes: dict[int, int] = field(default_factory=dict)

    @property
    def buckets(self) -> int:
        """Number of buckets in use."""
        count = max(len(self.classes), 1)
        return count * self.groups if self.nested else count + self.groups

    @property
    def references(self) -> int:
        """Number of strata with their own reference points; the buckets of crossed groups share one more."""
        return max(len(self.classes), 1) + (not self.nested)

    def membership(self, cells: np.ndarray) -> Membership:
        """Return the buckets in which samples of these cells are counted."""
        number = cells // self.groups
        if self.nested:
            return Membership(cells[:, None], number[:, None], self.references)
        buckets = np.stack([cells % self.groups, self.groups + number], axis=1)
        return Membership(buckets, np.stack([np.zeros_like(number), 1 + number], axis=1), self.references)

    def cells_of(self, groups: np.ndarray, labels: Tensor | None) -> np.ndarray:
        """Return the cell of each sample, given its jackknife group; new classes get a stratum."""
        group = groups % self.groups
        if not self.by_class:
            return group
        if labels is None:
            raise ValueError("by_class=True needs labels: pass data as (inputs, labels)")
        values, inverse = np.unique(class_numbers(labels).cpu().numpy(), return_inverse=True)
        for value in values.tolist():
            self.classes.setdefault(value, len(self.classes))
        strata = np.array([self.classes[value] for value in values.tolist()])
        return strata[inverse] * self.groups + group

    def positions_of(self, labels: Tensor | None, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's position in its stratum, in the order of the data, and the stratum's size."""
        values = labels.cpu().numpy() if self.by_class and labels is not None else np.zeros(len(indices))
        positions, sizes = np.empty(len(indices), np.int64), np.empty(len(indices), np.int64)
        for value in np.unique(values):
            members = np.flatnonzero(values == value)
            positions[members[np.argsort(indices[members])]] = np.arange(len(members))
            sizes[members] = len(members)
        return positions, sizes

    def members(self, stratum: int | None) -> list[list[int]]:
        """Return the buckets of each group, for one stratum or for all."""
        count = max(len(self.classes), 1)
        if not self.nested:
            return [[g] for g in range(self.groups)] if stratum is None else [[self.groups + stratum]]
        strata = range(count) if stratum is None else [stratum]
        return [[s * self.groups + g for s in strata] for g in range(self.groups)]


@dataclass(frozen=True)
class Size:
    """Memory of the sums over all layers, in bytes.

    Args:
        bucket: per bucket.
        stratum: per stratum, in addition to its buckets.
    """

    bucket: int
    stratum: int

    def of(self, buckets: int, strata: int) -> int:
        """Return the bytes for this many buckets and strata."""
        return self.bucket * buckets + self.stratum * strata


def rows_per_forward(batch_size: int | str, largest: int, device: str) -> int:
    """Return the number of inputs per forward; "auto" limits the block of the largest layer.

    Args:
        largest: values per input of the largest layer.
    """
    if isinstance(batch_size, int):
        return batch_size
    rows, budget = (_CPU_ROWS, _CPU_BYTES) if device == "cpu" else (_DEVICE_ROWS, _DEVICE_BYTES)
    return int(np.clip(budget // max(4 * largest, 1), _LEAST_ROWS, rows))


def available_bytes(memory_gb: float | None) -> int:
    """Return the budget for sums: the given one, or half of the available memory."""
    if memory_gb is not None:
        return int(memory_gb * 2**30)
    return (_available() or os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2


def _available() -> int:
    """Return the bytes that Linux could give to a program, including its file cache; 0 on other systems."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = next((line for line in lines if line.startswith("MemAvailable:")), "x: 0")
    return 1024 * int(found.split()[1])


def choose_buckets(
    strata: Strata, size: Size, *, budget: int, intervals: bool, cells: np.ndarray | None
) -> str:
    """Choose groups and nesting that fit the budget; return why there are no intervals, or "".

    Args:
        size: memory over all layers.
        cells: cells of all samples, if known beforehand.
    Raises:
        ValueError: not even one bucket per stratum fits the budget.
    """
    count = max(len(strata.classes), 1)
    refuse_too_large(size.of(count, count), budget, f"{count} strata")
    if not intervals:
        strata.groups, strata.why = 1, "intervals were switched off"
        return strata.why
    filled = None if cells is None else np.bincount(cells, minlength=count * GROUPS).reshape(count, GROUPS)
    useful = filled is None or bool(filled.min(axis=1).max() >= MIN_PER_GROUP)
    whole = size.of(count * GROUPS, count)
    strata.nested = not strata.by_class or (useful and whole <= budget)
    needed = f"{GROUPS} jackknife groups would need {_gib(whole)}: raise memory_gb"
    few = f"no class has {MIN_PER_GROUP} samples in each group; {ENOUGH}"
    strata.why = needed if useful else few
    if size.of(strata.buckets, strata.references) <= budget:
        return ""
    strata.groups, strata.nested, strata.why = 1, True, needed
    return needed


def refuse_too_large(needed: int, budget: int, what: str) -> None:
    """Raise ValueError if sums of this many bytes exceed the budget."""
    if needed > budget:
        raise ValueError(
            f"the sums of {what} need {_gib(needed)}, but the budget is {_gib(budget)}. "
            "Select fewer layers (layers=) or elements, or raise memory_gb."
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"


def by_cell(cells: np.ndarray, strata: Strata, room: int) -> list[np.ndarray]:
    """Split positions of samples into blocks: the first few of each stratum, then cell by cell.

    A stratum's first samples determine its reference, so they must not depend on the other classes or on the
    number of groups. They share a block if they fit into one.

    Args:
        cells: (place,) class × group.
        strata: the classes and groups.
        room: number of samples that fit into a block.

    >>> cells = np.array([3, 1, 3, 0, 0, 2, 3, 1, 2, 3, 0, 0])
    >>> [block.tolist() for block in by_cell(cells, Strata(True, groups=2), 6)]
    [[1, 3, 4, 7, 10], [0, 2, 5, 6, 8], [11, 9]]
    >>> [block.tolist() for block in by_cell(cells[:7], Strata(True, groups=2, nested=False), 6)]
    [[0, 1, 2, 3, 4], [5, 6]]
    """
    classes = cells // strata.groups
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    within = np.empty(len(cells), np.int64)
    within[order] = np.arange(len(cells)) - np.repeat(starts, np.diff(starts, append=len(cells)))
    late = classes.max(initial=0) + 1
    run = np.where(within < FIRST, classes, late + cells)
    if not strata.nested:  # all samples together form a stratum too
        run[:FIRST] = -1
    order = np.argsort(run, kind="stable")
    ends = np.flatnonzero(np.diff(np.minimum(run[order], late), prepend=run[order[0]]))
    return np.split(order, _cuts(ends, len(cells), room))


def _cuts(ends: np.ndarray, count: int, room: int) -> list[int]:
    """Return the ends of blocks, at the ends of runs if possible, so that runs are not divided.

    >>> _cuts(np.array([5, 10, 15]), 40, 14)
    [10, 22, 34]
    """
    found, low, size = [], 0, whole_fours(room)
    while count - low > room:
        inside = ends[(ends > low) & (ends <= low + room)]
        divides = len(ends) > 0 and low + size < ends[-1]
        low = int(inside[-1]) if divides and len(inside) else low + size
        found.append(low)
    return found


def whole_fours(room: int) -> int:
    """Round the number of samples per block down to a multiple of four, the step of the reduction.

    >>> whole_fours(14), whole_fours(3)
    (12, 3)
    """
    return room - (room % 4 if room > 4 else 0)


def paired_chunks(pairs: np.ndarray, size: int) -> Sequence[np.ndarray]:
    """Split positions 0, 1, ... into blocks of about `size` that hold whole pairs.

    Args:
        pairs: (position,) pair numbers, ascending.
        size: number of positions per block; more if a pair is larger.

    >>> [chunk.tolist() for chunk in paired_chunks(np.array([0, 0, 1, 1, 2, 2, 2]), 2)]
    [[0, 1], [2, 3], [4, 5, 6]]
    """
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    blocks, low = [], 0
    for start, end in zip(starts, np.append(starts[1:], len(pairs)), strict=True):
        if end - low > size and start > low:
            blocks.append(np.arange(low, start))
            low = start
    return [*blocks, np.arange(low, len(pairs))]
