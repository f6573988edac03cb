"""Names and values of a result's numbers, the same for all loggers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invariscope.common.globs import matches, matches_any
from invariscope.common.registry import closest, unknown
from invariscope.loggers.places import names_of_places, place_of
from invariscope.results.result import Result
from invariscope.results.rows import ResultRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("value", "ci_low", "ci_high", "corrected", "null", "floor")
COLUMNS += ("value_ratio", "ratio_low", "ratio_high", "chance", "drawing_error")
"""Columns of the table that loggers can record as scalars; by default, all of them."""
MAIN = ("value", "ci_low", "ci_high")


def scalars(
    result: Result, *, columns: Sequence[str] = COLUMNS, curves: bool = True
) -> Iterator[tuple[str, float]]:
    """Yield the name and the value of every finite number in columns of the table, then in the curves.

    A layer's value over all samples is named `MEASURE/LAYER`, its value for a class `MEASURE/LAYER/CLASS`,
    and numbers of other columns `MEASURE.COLUMN/...`. Points of curves are named
    `curve/MEASURE/LAYER/ELEMENT`, with the index of the element. Names depend on neither the step nor the
    values, so numbers of several runs can be compared. If a class at one layer would have the name of another
    layer, such as `blk/relu`, it is named `blk (class relu)`.

    Args:
        columns: columns of the table; some of `COLUMNS`.
        curves: whether to yield the points of curves.
    Raises:
        ValueError: an unknown column, a shard, which has no rows, or two numbers of one name.

    >>> row = {"measure": "normalized_variance", "layer": "conv1", "value": 0.25, "ci_low": 0.125}
    >>> dict(scalars(Result(rows=[row])))
    {'normalized_variance/conv1': 0.25, 'normalized_variance.ci_low/conv1': 0.125}
    """
    for name, value in _numbers(result, columns, curves=curves):
        if math.isfinite(value):
            yield name, value


def chosen(result: Result, patterns: Sequence[str]) -> dict[str, float]:
    """Return the finite numbers of a result whose names match any of the globs.

    Raises:
        ValueError: a glob that matches no name, not even that of a non-finite number.
    """
    found = dict(_numbers(result, COLUMNS, curves=True))
    for pattern in patterns:
        if not any(matches(pattern, name) for name in found):
            near = ", ".join(map(repr, closest(pattern, found))) or "none"
            raise ValueError(
                f"no number of this result matches {pattern!r}. Closest: {near}. Names are "
                "MEASURE/LAYER and MEASURE.COLUMN/LAYER; patterns are globs such as 'consistency*/output'"
            )
    return {
        name: value for name, value in found.items() if math.isfinite(value) and matches_any(patterns, name)
    }


def _numbers(result: Result, columns: Sequence[str], *, curves: bool) -> Iterator[tuple[str, float]]:
    """Yield the name and the number of every entry of the columns that applies, which may be NaN."""
    if wrong := [name for name in columns if name not in COLUMNS]:
        raise unknown("column", str(wrong[0]), COLUMNS)
    if result.shard is not None:
        result.shard.refuse("rows to log")
    names = names_of_places(result)
    for row in result.rows:
        for ending, value in _entries(row, columns):
            yield f"{row.measure}{ending}/{names[place_of(row)]}", value
    for point in result.curve_rows if curves else ():
        for ending, value in _entries(point, columns):
            yield f"curve/{point.measure}{ending}/{names[place_of(point)]}/{point.element}", value


def _entries(row: ResultRow, columns: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the ending of the name and the number for every column that the row has."""
    for column in columns:
        if column in row:
            yield "" if column == "value" else f".{column}", float(row[column])


def heat_maps(result: Result) -> Iterator[tuple[str, Figure]]:
    """Yield the name, different from those of `scalars`, and the figure of all units for every measure."""
    from invariscope.plots import draw
    from invariscope.plots.shared.labels import map_measures

    name, taken = "units", set(names_of_places(result).values())
    while name in taken:
        name += " (map)"
    for measure in map_measures(result):
        yield f"{measure}/{name}", draw("unit_heatmap", result, measure=measure)


def pixels(figure: Figure) -> np.ndarray:
    """Return a drawn figure as bytes (row, column, RGBA)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def saved(result: Result, folder: str | Path) -> Path:
    """Save a result with its table as CSV in a subfolder, for loggers that keep files, and return it."""
    place = result.save(Path(folder) / "result")
    result.table.to_csv(place / "table.csv", index=False)
    return place
