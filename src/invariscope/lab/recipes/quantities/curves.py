"""Numbers read off curves between the points that were measured."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, Interval
from invariscope.lab.recipes.quantities.base import (
    Estimate,
    NoValueError,
    Results,
    around,
    pairing_of,
    quantity,
    replicates_of,
)
from invariscope.lab.recipes.quantities.layers import layer_value
from invariscope.lab.recipes.quantities.relations import quotient
from invariscope.results.result import Result
from invariscope.results.rows import Point

_WAYS = {"noise": "stability_curve.G_over_r2", "toward": "stability_curve.G_toward_over_r2"}


@quantity
def curve_ratio(
    cells: Results,
    *,
    cell: str,
    to: str,
    x: float,
    measure: str = "stability_curve.R",
    layer: str = "output",
) -> Estimate:
    """A curve in one cell over the same curve in another, at the same place.

    Between two measured points the logarithm of the value is linear in the logarithm of x, so that a power
    law is read off exactly. Paired if both curves are of the same samples and come with jackknife values;
    otherwise the errors of both add up.

    Args:
        cell, to: cells with curves.
        x: where: for stability curves the radius, the norm by which inputs are moved.
        measure: the curve.
        layer: whose curve.
    """
    above, below = (_read_off(cells.result(name), name, measure, layer, x) for name in (cell, to))
    return quotient(above, below)


@quantity
def departure(cells: Results, *, cell: str, way: Literal["noise", "toward"] = "noise") -> Estimate:
    """G/r² where half of the predictions have flipped, over its value at the smallest radius.

    1 if the output is still linear. The curve is read off at the nearest measured radius.
    """
    if way not in _WAYS:
        raise unknown("way", way, _WAYS)
    result = cells.result(cell)
    bump = layer_value(cells, cell=cell, measure=f"stability_curve.bump_{way}").value
    points = _positive(result, _WAYS[way], "output")
    if not math.isfinite(bump) or not points:
        raise NoValueError(f"in {cell} half of the predictions flip at no radius that was measured ({way})")
    at_bump = min(points, key=lambda point: abs(math.log(point["x"] / bump)))
    return quotient(_point(at_bump), _point(points[0]))


def _positive(result: Result, measure: str, layer: str) -> list[Point]:
    """The curve's points of positive place and value, in the order of their places."""
    wanted = (measure, layer, "all")
    rows = [p for p in result.curve_rows if (p["measure"], p["layer"], p["stratum"]) == wanted]
    return sorted((p for p in rows if p["x"] > 0 and p["value"] > 0), key=lambda point: point["x"])


def _point(row: Point) -> Estimate:
    """A point with the error that its interval implies."""
    centre = (row["ci_low"] + row["ci_high"]) / 2
    return Estimate(row["value"], Interval(row["ci_low"], row["ci_high"], centre, _error(row)))


def _error(row: Point) -> float:
    from scipy import special

    return (row["ci_high"] - row["ci_low"]) / (2 * float(special.stdtrit(GROUPS - 1, 0.975)))


def _read_off(result: Result, cell: str, measure: str, layer: str, x: float) -> Estimate:
    """The curve's value at x.

    Raises:
        NoValueError: fewer than two positive points, or x beyond them.
    """
    rows = _positive(result, measure, layer)
    places = np.array([p["x"] for p in rows])
    if len(rows) < 2 or not places[0] <= x <= places[-1]:
        known = f"between {places[0]:.3g} and {places[-1]:.3g}" if len(rows) > 1 else "at two points or more"
        raise NoValueError(f"{measure} of {layer} in {cell} is not known at {x:g}, only {known}")
    right = int(np.searchsorted(places, x).clip(1))
    share = float(np.log(x / places[right - 1]) / np.log(places[right] / places[right - 1]))
    return _between(rows[right - 1 : right + 1], np.array([1 - share, share]), pairing_of(result))


def _between(rows: list[Point], weights: np.ndarray, pairing: str) -> Estimate:
    """The weighted geometric mean of two points.

    Without jackknife values their errors are taken as fully correlated, which makes the interval wide rather
    than narrow: neighbouring points are of the same samples.
    """
    values, sizes = replicates_of(rows)
    if sizes and (values > 0).all():
        means = np.exp(np.log(values) @ weights)
        return Estimate.of(means[0], means[1:].tolist(), sizes, pairing)
    value = float(np.exp(np.log(values[0]) @ weights))
    relative = [_error(row) / row["value"] for row in rows]
    return Estimate(value, around(value, value * float(weights @ relative), GROUPS - 1))
