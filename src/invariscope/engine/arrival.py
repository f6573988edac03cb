"""Detect streams with sorted labels, in which neighbouring samples are not random pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from invariscope.engine.outputs import Part
from invariscope.measures.base import Measure
from invariscope.results.rows import ResultRow, Row

SORTED = (
    "the labels of this stream are sorted, so neighbouring samples are not random pairs: shuffle the stream, "
    "or pass an array or a Dataset"
)
UNKNOWN = (
    "the samples of a stream are paired in order of arrival, so nulls are too small if similar samples come "
    "together; without labels, this cannot be checked: shuffle the stream, or pass an array or a Dataset"
)
_OF_VALUE = ("value", "ci_low", "ci_high", "corrected", "null", "replicates", "reach")
_STANDARD_ERRORS = 4.0
_FEWEST = 16  # with fewer samples, labels are sorted by chance too often


@dataclass
class Arrival:
    """Counts of how often neighbours in a stream share a class.

    Args:
        counts: number of samples per class.
        pairs: number of pairs of neighbours so far.
        same: number of these pairs that share a class.
        runs: number of times the class changed, plus one.
        last: the class of the last sample.
    """

    counts: dict[int, int] = field(default_factory=dict)
    pairs: int = 0
    same: int = 0
    runs: int = 0
    last: int | None = None

    def add(self, labels: Tensor) -> None:
        """Add the labels of a window."""
        values = labels.cpu().numpy()
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            self.counts[int(value)] = self.counts.get(int(value), 0) + int(count)
        whole = len(values) // 2 * 2
        self.pairs += whole // 2
        self.same += int((values[:whole:2] == values[1:whole:2]).sum())
        changes = int((values[1:] != values[:-1]).sum())
        self.runs += changes + (self.last is None or values[0] != self.last)
        self.last = int(values[-1])

    @property
    def is_sorted(self) -> bool:
        """Whether neighbours share a class far more often than expected by chance.

        >>> import torch
        >>> sorted_, mixed = Arrival(), Arrival()
        >>> sorted_.add(torch.arange(40) // 10), mixed.add(torch.arange(40) % 4)
        (None, None)
        >>> sorted_.is_sorted, mixed.is_sorted
        (True, False)
        """
        samples = sum(self.counts.values())
        if len(self.counts) < 2 or samples < _FEWEST:
            return False
        chance = sum((count / samples) ** 2 for count in self.counts.values())
        error = math.sqrt(chance * (1 - chance) / self.pairs)
        return self.runs == len(self.counts) or self.same / self.pairs - chance > _STANDARD_ERRORS * error

    @property
    def looks_unshuffled(self) -> bool:
        """Whether the samples so far may not be a random subset, because labels are sorted or all equal."""
        return self.is_sorted or len(self.counts) == 1


def without_partners(part: Part, measure: Measure) -> Part:
    """Return a part of a result without its nulls and the outputs that depend on a sample's partner."""
    if not any(statistic.paired for statistic in measure.statistics()):
        return part
    removed = dict.fromkeys(("value", "ci_low", "ci_high"), math.nan)
    points = [replace(p, **removed) if _of_partners(measure, p) else p for p in part.points]
    return Part([_without_partners(row, measure) for row in part.rows], points, part.maps)


def _without_partners(row: Row, measure: Measure) -> Row:
    if _of_partners(measure, row):
        kept = {name: row[name] for name in row if name not in _OF_VALUE}
        return Row.of(kept | {"value": math.nan, "output": row.output, "note": f"no value: {SORTED}"})
    if not math.isfinite(row.null):
        return row
    return replace(row, null=math.nan, note="; ".join(filter(None, (row.note, f"no null: {SORTED}"))))


def _of_partners(measure: Measure, row: ResultRow) -> bool:
    return measure.output(row.output).of_partners
