"""Add notes on nulls that are based on few samples, because rows are compared one by one (`iv.Rows`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from invariscope.engine.state import Run
from invariscope.intervals import GROUPS, MIN_PER_GROUP
from invariscope.readers.base import LayerKey
from invariscope.results.rows import ABSENT, Row

FEW = GROUPS * MIN_PER_GROUP
"""Smaller numbers of samples, which would not suffice for an interval, count as few."""


def paired_samples(run: Run, key: LayerKey) -> int:
    """Return how many samples of a layer have a partner with the same number of rows."""
    return run.samples - run.uneven.get(key, 0) - run.unpaired.get(key, 0)


def with_few_pairs(rows: Iterable[Row], run: Run) -> list[Row]:
    """Return the rows, with a note on each null to which few samples contribute."""
    paired = {key: paired_samples(run, key) for key, lost in run.unpaired.items() if lost}
    few = {key: left for key, left in paired.items() if left < FEW}
    return [_noted(row, few[row.key]) if row.key in few and row.null is not ABSENT else row for row in rows]


def _noted(row: Row, left: int) -> Row:
    if row.stratum != "all":
        return row
    note = f"the null uses only the {left} samples whose partner has the same number of rows"
    note = note if left else "no null: no sample has a partner with the same number of rows"
    return replace(row, note="; ".join(filter(None, (row.note, note))))
