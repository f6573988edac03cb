"""Average the results of training runs, for figures."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from invariscope.intervals import GROUPS, LEVEL, MISSING
from invariscope.lab.recipes.quantities import Estimate, NoValueError, nested
from invariscope.lab.recipes.quantities.base import around, pairing_of
from invariscope.results.result import Result
from invariscope.results.rows import Point, Row

_SEED = re.compile(r", seed \d+\b")


def over_trainings(
    results: Sequence[Result], *, measures: Sequence[str] | None = None, planned: int = 0
) -> Result:
    """Return the mean over training runs, with intervals over samples within runs where both are known.

    Only rows and points that all runs have are averaged, of all samples and not of single classes. Maps are
    joined: unit 3 of one run has nothing to do with unit 3 of another, but their distributions do.

    Args:
        results: one per training run; a single one keeps its intervals over samples.
        measures: the measures to average; None: all.
        planned: number of runs that were planned; if fewer are finished, the label states how many.
    """
    first = results[0]
    count = f" ({len(results)} run{'s' if len(results) > 1 else ''})" if len(results) < planned else ""
    label = _SEED.sub("", _common([result.name for result in results])) + count
    if len(results) == 1:
        return first.labelled(label)
    pairings = [pairing_of(result) for result in results]
    rows = _matched([result.rows for result in results], measures)
    points = _matched([result.curve_rows for result in results], measures)
    mean = replace(
        first,
        rows=tuple(_mean_row(group, pairings) for group in rows),
        curve_rows=tuple(_mean_point(group, pairings) for group in points),
        arrays=_joined(results),
        baseline_rows=(),
    )
    return mean.labelled(label)


def _common(labels: Sequence[str]) -> str:
    """Return the parts of the labels, separated by commas, that all of them share.

    >>> _common(["vgg11 plain, seed 0", "vgg11 plain, seed 1"])
    'vgg11 plain'
    """
    parts = [label.split(", ") for label in labels]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    return ", ".join(shared) or labels[0]


def _matched(runs: Sequence[Sequence[Any]], measures: Sequence[str] | None) -> list[list[Any]]:
    """Return, for each row of the first run, the same row of every run."""
    wanted = [
        {
            _place(row): row
            for row in rows
            if row.stratum == "all" and (measures is None or row.measure in measures)
        }
        for rows in runs
    ]
    return [[rows[place] for rows in wanted] for place in wanted[0] if all(place in rows for rows in wanted)]


def _place(row: Row | Point) -> tuple[Any, ...]:
    return (*row.place, row.parameter, row.element) if isinstance(row, Point) else row.place


def _mean_row(rows: Sequence[Row], pairings: Sequence[str]) -> Row:
    null = float(np.mean([row.null for row in rows]))
    absent = {"value_ratio": math.nan, "ratio_low": math.nan, "ratio_high": math.nan, "floor": math.nan}
    return replace(rows[0], **_mean(rows, pairings), null=null, replicates=(), ratio_replicates=(), **absent)


def _mean_point(points: Sequence[Point], pairings: Sequence[str]) -> Point:
    x = float(np.mean([point.x for point in points]))
    return replace(points[0], **_mean(points, pairings), x=x, replicates=())


def _mean(rows: Sequence[Row] | Sequence[Point], pairings: Sequence[str]) -> dict[str, Any]:
    parts = [_estimate(row, pairing) for row, pairing in zip(rows, pairings, strict=True)]
    try:
        found = nested(parts)
    except NoValueError:
        return {"value": math.nan, **MISSING.columns}
    return {"value": found.value, **found.interval.columns}


def _estimate(row: Row | Point, pairing: str) -> Estimate:
    """Return the value with its error over samples: from its replicates, or else from its interval."""
    from scipy import special

    if row.replicates and np.isfinite(row.replicates).all():
        return Estimate.of(row.value, row.replicates, row.group_sizes, pairing)
    error = (row.ci_high - row.ci_low) / (2 * float(special.stdtrit(GROUPS - 1, 0.5 + LEVEL / 2)))
    return Estimate(row.value, around((row.ci_low + row.ci_high) / 2, error, GROUPS - 1))


def _joined(results: Sequence[Result]) -> dict[Any, Any]:
    shared = [key for key in results[0].arrays if all(key in result.arrays for result in results)]
    return {key: np.concatenate([np.ravel(result.maps[key]) for result in results]) for key in shared}
