"""Measure the value that a model's own randomness causes, for models that draw random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invariscope.data.sources import refuse_second_walk
from invariscope.engine.assemble import NoLayerError, assembled
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.results.rows import Row
from invariscope.transforms.machinery.unmoved import unmoved


def refuse_streams(task: Task) -> None:
    """Raise ValueError if `repeats=` is used with data that can be read only once."""
    if task.options.repeats > 1:
        refuse_second_walk(task.source, f"repeats={task.options.repeats} reads the data more than once")


def chance_values(task: Task) -> dict[tuple[str, str, int, str], float]:
    """Return the values that the measures have if every element is the identity, keyed by their row.

    The untransformed inputs are forwarded `repeats` times each, so that responses differ only by the model's
    random numbers. Measures that do not apply to such elements have no value.
    """
    options = task.options
    if options.repeats < 2:
        return {}
    elements = unmoved(task.transform, options.repeats)
    quiet = replace(options, intervals=False, checkpoint=None, progress=False, floor=False, width=None)
    still = replace(task, transform=elements, options=replace(quiet, decided_by=None))
    run = walk(still)
    found = [_rows_of(replace(still, measures=(measure,)), run) for measure in task.measures]
    return {row.place: row.value for rows in found for row in rows}


def _rows_of(task: Task, run: Run) -> Sequence[Row]:
    try:
        return assembled(task, run).rows
    except NoLayerError:
        return ()


def with_chance(rows: Sequence[Row], values: dict[tuple[str, str, int, str], float]) -> list[Row]:
    """Return the rows, with the column `chance` filled if its value is known."""
    return [replace(row, chance=values[row.place]) if row.place in values else row for row in rows]
