"""Figures of tables: values drawn as curves against one of the table's axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from invariscope.lab.plots.value_curves import ValueCurve
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.figures.declared import figure_file
from invariscope.lab.recipes.figures.drawing import draw_panels, save_figure
from invariscope.lab.recipes.recipe import RecipeTable

_RATIO = "log"


def draw_tables(tables: Sequence[tuple[RecipeTable, Sequence[Case]]], page: Path) -> dict[str, Path]:
    """Draw each table that names an axis under `against`; return paths relative to the page by title.

    A table has a panel per combination of its other axes, if that has at least two values.
    """
    drawn: dict[str, Path] = {}
    for table, cases in tables:
        panels = list(_panels(table, cases)) if table.against else []
        if panels:
            path = figure_file(f"table {table.title}", page, "svg")
            save_figure(draw_panels(panels), page.parent / path)
            drawn[table.title] = path
    return drawn


def _panels(table: RecipeTable, cases: Sequence[Case]) -> Iterator[tuple[str, ValueCurve]]:
    curves: dict[str, list[Case]] = {}
    for case in cases:
        if case.estimate is not None:
            others = ", ".join(str(value) for axis, value in case.axes.items() if axis != table.against)
            curves.setdefault(others, []).append(case)
    for title, known in curves.items():
        points = [_point(case, table.against) for case in known]
        ratio = all(case.estimate is not None and case.estimate.scale == _RATIO for case in known)
        if len(points) > 1:
            yield title, ValueCurve.prepare(points, axis=table.axis or table.against, ratio=ratio)


def _point(case: Case, axis: str) -> tuple[float, float, float, float]:
    if case.estimate is None:
        return float(case.axes[axis]), math.nan, math.nan, math.nan
    return (
        float(case.axes[axis]),
        case.estimate.value,
        case.estimate.interval.low,
        case.estimate.interval.high,
    )
