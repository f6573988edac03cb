"""Quantities interpolated between the measured points of curves."""

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
    """Ratio of a curve in one cell to the same curve in another, at the same x.

    Between two measured points, the logarithm of the value is interpolated linearly in the logarithm of x,
    which is exact for power laws. The ratio is paired if both curves come from the same samples and have
    jackknife values; otherwise both are treated as independent.

    Args:
        cells: the results.
        cell, to: cells with curves.
        x: position on the x axis; for stability curves, the norm of the displacement of the inputs.
        measure: measure of the curve.
        layer: layer of the curve.
    """
    above, below = (_read_off(cells.result(name), name, measure, layer, x) for name in (cell, to))
    return quotient(above, below)


@quantity
def departure(cells: Results, *, cell: str, way: Literal["noise", "toward"] = "noise") -> Estimate:
    """Ratio of G/r² at the radius where half of the predictions have flipped to G/r² at the smallest radius.

    A ratio of 1 means that the output is still linear in the input at that radius. The curve is evaluated at
    the nearest measured radius.
    """
    if way not in _WAYS:
        raise unknown("way", way, _WAYS)
    result = cells.result(cell)
    bump = layer_value(cells, cell=cell, measure=f"stability_curve.bump_{way}").value
    points = _positive(result, _WAYS[way], "output")
    if not math.isfinite(bump) or not points:
        raise NoValueError(f"in {cell}, no measured radius flips half of the predictions ({way})")
    at_bump = min(points, key=lambda point: abs(math.log(point.x / bump)))
    return quotient(_point(at_bump), _point(points[0]))


def _positive(result: Result, measure: str, layer: str) -> list[Point]:
    """Return the points of a curve with positive x and value, sorted by x."""
    wanted = (measure, layer, "all")
    points = [p for p in result.curve_rows if (p.measure, p.layer, p.stratum) == wanted]
    return sorted((p for p in points if p.x > 0 and p.value > 0), key=lambda point: point.x)


def _point(point: Point) -> Estimate:
    """Return a point as an estimate, with the error that its interval implies."""
    centre = (point.ci_low + point.ci_high) / 2
    return Estimate(point.value, Interval(point.ci_low, point.ci_high, centre, _error(point)))


def _error(point: Point) -> float:
    from scipy import special

    return (point.ci_high - point.ci_low) / (2 * float(special.stdtrit(GROUPS - 1, 0.975)))


def _read_off(result: Result, cell: str, measure: str, layer: str, x: float) -> Estimate:
    """Return the value of a curve at x.

    Raises:
        NoValueError: fewer than two positive points, or x outside their range.
    """
    points = _positive(result, measure, layer)
    places = np.array([point.x for point in points])
    if len(points) < 2:
        raise NoValueError(f"{measure} of {layer} in {cell} has fewer than two positive points")
    if not places[0] <= x <= places[-1]:
        known = f"only between {places[0]:.3g} and {places[-1]:.3g}"
        raise NoValueError(f"{measure} of {layer} in {cell} is not known at {x:g}, {known}")
    right = int(np.searchsorted(places, x).clip(1))
    share = float(np.log(x / places[right - 1]) / np.log(places[right] / places[right - 1]))
    return _between(points[right - 1 : right + 1], np.array([1 - share, share]), pairing_of(result))


def _between(points: list[Point], weights: np.ndarray, pairing: str) -> Estimate:
    """Return the weighted geometric mean of two points.

    Without jackknife values, the errors are treated as fully correlated, because neighbouring points come
    from the same samples; this is conservative.
    """
    values, sizes = replicates_of(points)
    if sizes and (values > 0).all():
        means = np.exp(np.log(values) @ weights)
        return Estimate.of(means[0], means[1:].tolist(), sizes, pairing)
    value = float(np.exp(np.log(values[0]) @ weights))
    relative = [_error(point) / point.value for point in points]
    return Estimate(value, around(value, value * float(weights @ relative), GROUPS - 1))
