"""Numbers of several trainings of a network, which differ in their seeds, and of two kinds of them in pairs.

The intervals are over the trainings: what another seed would have given. Each training counts once.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

import numpy as np

from invariscope.recipes.quantities.base import (
    Cells,
    Estimate,
    NoValueError,
    quantity,
    rows_of,
    spread_over,
)

_OVER = "trainings"


@quantity
def trainings_mean(
    cells: Cells, *, among: list[str], measure: str, layers: list[str] | None = None, stratum: str = "all"
) -> Estimate:
    """Mean over trainings of the mean over the layers that match, with the t interval over the trainings."""
    return spread_over(_values(cells, among, measure, layers, stratum), _OVER)


@quantity
def paired_difference(
    cells: Cells,
    *,
    among: list[str],
    beside: list[str],
    measure: str,
    layers: list[str] | None = None,
    stratum: str = "all",
) -> Estimate:
    """Mean over pairs of trainings of the difference, `among` less `beside`, with the t interval over pairs.

    The pairs are made in the recipe's order: patterns that match as many cells, in the same order of seeds.
    """
    first, second = _pairs(cells, among, beside, measure, layers, stratum)
    return spread_over((first - second).tolist(), "pairs of trainings")


@quantity
def paired_ratio(
    cells: Cells,
    *,
    among: list[str],
    beside: list[str],
    measure: str,
    layers: list[str] | None = None,
    stratum: str = "all",
) -> Estimate:
    """As `paired_difference`, but the geometric mean of the ratios; below 1: `among` is lower."""
    first, second = _pairs(cells, among, beside, measure, layers, stratum)
    if not ((first > 0) & (second > 0)).all():
        raise NoValueError(f"a ratio needs positive values of {measure}")
    return spread_over(np.log(first / second).tolist(), "pairs of trainings").exponential()


def _pairs(
    cells: Cells, among: list[str], beside: list[str], measure: str, layers: list[str] | None, stratum: str
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides' values.

    Raises:
        NoValueError: another number of trainings on each side, or nothing measured.
    """
    found = [_values(cells, patterns, measure, layers, stratum) for patterns in (among, beside)]
    if len(found[0]) != len(found[1]):
        raise NoValueError(f"{len(found[0])} trainings match {among}, {len(found[1])} match {beside}")
    return np.array(found[0]), np.array(found[1])


def _values(
    cells: Cells, among: list[str], measure: str, layers: list[str] | None, stratum: str
) -> list[float]:
    names = list(dict.fromkeys(name for pattern in among for name in cells.matching([pattern])))
    if not names:
        raise NoValueError(f"nothing matches {among}")
    return [_value(cells, name, measure, layers, stratum) for name in names]


def _value(cells: Cells, name: str, measure: str, layers: list[str] | None, stratum: str) -> float:
    rows = rows_of(cells.result(name), measure, stratum)
    chosen = [
        row["value"]
        for row in rows
        if layers is None or any(fnmatchcase(row["layer"], pattern) for pattern in layers)
    ]
    finite = [value for value in chosen if math.isfinite(value)]
    if not finite:
        raise NoValueError(f"no layer of {name} that matches {layers or ['*']} has a finite {measure}")
    return float(np.mean(finite))
