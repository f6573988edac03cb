"""Numbers read off curves between the points that were measured."""

from __future__ import annotations

import numpy as np

from invariscope.intervals import GROUPS
from invariscope.recipes.quantities.base import (
    Cells,
    Estimate,
    NoValueError,
    around,
    pairing_of,
    quantity,
    replicates_of,
)
from invariscope.recipes.quantities.relations import quotient
from invariscope.results.result import Result
from invariscope.results.rows import Point


@quantity
def curve_ratio(
    cells: Cells,
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


def _read_off(result: Result, cell: str, measure: str, layer: str, x: float) -> Estimate:
    """The curve's value at x.

    Raises:
        NoValueError: fewer than two positive points, or x beyond them.
    """
    wanted = (measure, layer, "all")
    rows = [p for p in result.curve_rows if (p["measure"], p["layer"], p["stratum"]) == wanted]
    rows = sorted((p for p in rows if p["x"] > 0 and p["value"] > 0), key=lambda point: point["x"])
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
    from scipy import special

    reach = float(special.stdtrit(GROUPS - 1, 0.975))
    value = float(np.exp(np.log(values[0]) @ weights))
    relative = [(p["ci_high"] - p["ci_low"]) / (2 * reach * p["value"]) for p in rows]
    return Estimate(value, around(value, value * float(weights @ relative), GROUPS - 1))
