"""Divide samples into buckets and blocks of whole orbits that fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from invariscope.block import Membership
from invariscope.common.available import available_memory
from invariscope.intervals import GROUPS
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
    group. This takes far fewer buckets, but only the values over all samples have intervals. If coarse, the
    groups of a class share its bucket, and there are no intervals. `why` holds the reason for this choice.

    With classes, stratum 0 is that of all samples. Bucket 0 is theirs too, see `Membership.overall`, unless
    the buckets of crossed groups hold them.
    """

    by_class: bool
    groups: int = GROUPS
    nested: bool = True
    merged: bool = False
    why: str = ""
    classes: dict[int, int] = field(default_factory=dict)

    def crossed(self, why: str) -> Strata:
        """Return the same classes with crossed groups."""
        return replace(self, nested=False, merged=False, why=why)

    def coarse(self, why: str) -> Strata:
        """Return the same classes without groups."""
        return replace(self, nested=True, merged=True, why=why)

    def number(self, classes: Mapping[int, int]) -> None:
        """Replace the classes, also those of the strata derived from these."""
        self.classes.clear()
        self.classes.update(classes)

    @property
    def layout(self) -> str:
        """How groups are counted: "nested", "crossed" or "coarse"."""
        return "coarse" if self.merged else "nested" if self.nested else "crossed"

    @property
    def strata(self) -> int:
        """Number of classes, or 1 without classes."""
        return max(len(self.classes), 1)

    @property
    def overall(self) -> bool:
        """Whether bucket 0 counts departures from the usual response of all samples."""
        return self.by_class and self.nested

    @property
    def sums(self) -> int:
        """Number of buckets with sums."""
        if self.merged:
            return self.strata
        return self.strata * self.groups if self.nested else self.strata + self.groups

    @property
    def buckets(self) -> int:
        """Number of buckets in use."""
        return self.sums + self.overall

    @property
    def references(self) -> int:
        """Number of strata with their own reference points."""
        return self.strata + self.by_class

    def membership(self, cells: np.ndarray) -> Membership:
        """Return the buckets in which samples of these cells are counted."""
        number = cells // self.groups
        if self.nested:
            buckets, strata = (self.overall + part for part in (number if self.merged else cells, number))
            return Membership(buckets[:, None], strata[:, None], self.references, overall=self.overall)
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
        """Return (sample, k) positions in each of a sample's strata, in data order, and the strata's sizes.

        With classes, these are the stratum of all samples and that of the sample's class.
        """
        strata = [np.zeros(len(indices), np.int64)]
        if self.by_class and labels is not None:
            strata.append(class_numbers(labels).cpu().numpy())
        positions, sizes = np.empty((2, len(indices), len(strata)), np.int64)
        for k, values in enumerate(strata):
            for value in np.unique(values):
                members = np.flatnonzero(values == value)
                positions[members[np.argsort(indices[members])], k] = np.arange(len(members))
                sizes[members, k] = len(members)
        return positions, sizes

    def cells(self, stratum: int | None) -> list[list[int]]:
        """Return the cells of each group, for one stratum or for all."""
        strata = range(self.strata) if stratum is None else [stratum]
        return [[s * self.groups + g for s in strata] for g in range(self.groups)]

    def members(self, stratum: int | None) -> list[list[int]]:
        """Return the buckets of each group, for one stratum or for all; one group if there are no others."""
        if not self.nested:
            return [[g] for g in range(self.groups)] if stratum is None else [[self.groups + stratum]]
        first = int(self.overall)
        if self.merged:
            return [[first + s for s in (range(self.strata) if stratum is None else [stratum])]]
        return [[first + cell for cell in own] for own in self.cells(stratum)]

    @property
    def everything(self) -> list[list[int]]:
        """The buckets of all samples as one group."""
        return [[bucket for own in self.members(None) for bucket in own]]


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
    return available_memory() // 2


def by_cell(cells: np.ndarray, strata: Strata, room: int) -> list[np.ndarray]:
    """Split positions of samples into blocks: the first few of each stratum, then cell by cell.

    A stratum's first samples determine its reference, so they must not depend on the other classes or on the
    number of groups. With classes, all samples together form a stratum too. The first samples share a block
    if they fit into one.

    Args:
        cells: (place,) class × group.
        strata: the classes and groups.
        room: number of samples that fit into a block.

    >>> cells = np.array([3, 1, 3, 0, 0, 2, 3])
    >>> [block.tolist() for block in by_cell(cells, Strata(True, groups=2), 6)]
    [[0, 1, 2, 3, 4], [5, 6]]
    """
    classes = cells // strata.groups
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    within = np.empty(len(cells), np.int64)
    within[order] = np.arange(len(cells)) - np.repeat(starts, np.diff(starts, append=len(cells)))
    late = classes.max(initial=0) + 1
    run = np.where(within < FIRST, classes, late + cells)
    if strata.by_class:
        # The classes of the first samples follow at once, or their own first samples would be far apart.
        run = np.where(np.isin(classes, classes[:FIRST]) & (within < FIRST), 0, 1 + run)
        run[:FIRST] = -1
        late += 1
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
