"""Numbers set against each other: ratios of two, and what holds over many networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, Interval
from invariscope.recipes.quantities.base import (
    Cells,
    Estimate,
    NoValueError,
    pairing_of,
    quantity,
    replicates_of,
    rows_of,
)
from invariscope.recipes.quantities.layers import layer_mean
from invariscope.results.rows import Point

_LAST = "last"
_FEWEST = 4
_WAYS = {"noise": "stability_curve.G_over_r2", "toward": "stability_curve.G_toward_over_r2"}


@quantity
def last_value(cells: Cells, *, cell: str, measure: str, stratum: str = "all") -> Estimate:
    """The value of the last layer that has one, whatever the network calls it."""
    return _value(cells, cell, measure, _LAST, stratum)


@quantity
def ratio(
    cells: Cells,
    *,
    cell: str,
    to: str,
    measure: str,
    layer: str = _LAST,
    to_layer: str | None = None,
    stratum: str = "all",
) -> Estimate:
    """The value in one cell over that in another, paired where both are of the same samples.

    The interval is that of the difference of logarithms. With `to_layer` the value below is that of another
    layer, which may be one of the same cell.
    """
    above = _value(cells, cell, measure, layer, stratum)
    return quotient(above, _value(cells, to, measure, to_layer or layer, stratum))


@quantity
def layers_ratio(
    cells: Cells, *, cell: str, to: str, measure: str, layers: list[str] | None = None, stratum: str = "all"
) -> Estimate:
    """As `ratio`, but of means over the layers that match any of the patterns."""
    above, below = (
        layer_mean(cells, cell=name, measure=measure, layers=layers, stratum=stratum) for name in (cell, to)
    )
    return quotient(above, below)


@quantity
def log_slope(
    cells: Cells, *, among: list[str], of: str, against: str, layer: str = _LAST, of_layer: str = _LAST
) -> Estimate:
    """Slope of the least-squares line through log(of) over log(against), a point a network.

    The interval leaves out networks in turn: all that one of the patterns matches, where there are several
    patterns, for networks of one family (and trainings of one network) are no independent witnesses; else
    one after the other. The error over samples that all networks share is added, where it is known.
    """
    return _over_networks(cells, among, (of, of_layer), (against, layer), _slope)


@quantity
def log_correlation(
    cells: Cells, *, among: list[str], of: str, against: str, layer: str = _LAST, of_layer: str = _LAST
) -> Estimate:
    """Pearson's correlation of log(of) with log(against) over networks; the interval as that of the slope."""
    found = _over_networks(cells, among, (of, of_layer), (against, layer), _correlation)
    low, high = max(found.interval.low, -1.0), min(found.interval.high, 1.0)
    return replace(found, interval=replace(found.interval, low=low, high=high))


@quantity
def log_explained(
    cells: Cells, *, among: list[str], of: str, against: str, layer: str = _LAST, of_layer: str = _LAST
) -> Estimate:
    """The share of the variance of log(of) over networks that log(against) explains, whatever the direction.

    The square of the correlation; the interval as that of the slope, between 0 and 1.
    """
    found = _over_networks(cells, among, (of, of_layer), (against, layer), _explained)
    low, high = max(found.interval.low, 0.0), min(found.interval.high, 1.0)
    return replace(found, interval=replace(found.interval, low=low, high=high))


@quantity
def departure(cells: Cells, *, cell: str, way: Literal["noise", "toward"] = "noise") -> Estimate:
    """G/r² where half of the predictions have flipped, over its value at the smallest radius.

    1 where the output is still linear. The curve is read off at the measured radius that lies nearest.
    """
    if way not in _WAYS:
        raise unknown("way", way, _WAYS)
    result = cells.result(cell)
    bump = _value(cells, cell, f"stability_curve.bump_{way}", "output", "all").value
    points = [p for p in result.curve_rows if (p["measure"], p["layer"]) == (_WAYS[way], "output")]
    points = sorted((p for p in points if p["x"] > 0 and p["value"] > 0), key=lambda point: point["x"])
    if not math.isfinite(bump) or not points:
        raise NoValueError(f"in {cell} half of the predictions flip at no radius that was measured ({way})")
    at_bump = min(points, key=lambda point: abs(math.log(point["x"] / bump)))
    first, last = (_point(point) for point in (points[0], at_bump))
    return quotient(last, first)


def quotient(above: Estimate, below: Estimate) -> Estimate:
    """One positive estimate over another, with the interval of the difference of their logarithms.

    Raises:
        NoValueError: one of them is not positive.
    """
    return above.logarithm().minus(below.logarithm()).exponential()


def _point(row: Point) -> Estimate:
    """A point of a curve; its interval says how uncertain it is."""
    from scipy import special

    reach = float(special.stdtrit(GROUPS - 1, 0.975))
    error = (row["ci_high"] - row["ci_low"]) / (2 * reach)
    centre = (row["ci_low"] + row["ci_high"]) / 2
    return Estimate(row["value"], Interval(row["ci_low"], row["ci_high"], centre, error))


def _value(cells: Cells, cell: str, measure: str, layer: str, stratum: str) -> Estimate:
    result = cells.result(cell)
    rows = rows_of(result, measure, stratum)
    if layer != _LAST:
        rows = [row for row in rows if row["layer"] == layer]
    if not rows:
        raise NoValueError(f"{cell} has no layer {layer!r} of {measure}")
    values, sizes = replicates_of(rows[-1:])
    return Estimate.of(values[0, 0], values[1:, 0].tolist(), sizes, pairing_of(result))


def _over_networks(
    cells: Cells,
    among: list[str],
    of: tuple[str, str],
    against: tuple[str, str],
    statistic: Callable[[np.ndarray, np.ndarray], float],
) -> Estimate:
    """A statistic of (log x, log y) over networks, and its delete-a-group jackknife over their families."""
    families = _families(cells, among)
    names = [name for family in families for name in family]
    if len(families) < _FEWEST:
        raise NoValueError(f"a relation needs {_FEWEST} networks or families, there are {len(families)}")
    pairs = [[_value(cells, name, *of, "all") for of in (against, of)] for name in names]
    points = np.array([[estimate.value for estimate in pair] for pair in pairs])
    if not (points > 0).all():
        wrong = names[int((points <= 0).any(axis=1).argmax())]
        raise NoValueError(f"{of[0]} or {against[0]} of {wrong} is not positive")
    x, y = np.log(points).T
    family = np.repeat(np.arange(len(families)), [len(members) for members in families])
    omitted = [statistic(x[family != out], y[family != out]) for out in range(len(families))]
    found = Estimate.of(statistic(x, y), omitted, [len(members) for members in families], " ".join(names))
    found = replace(found, over="networks" if len(among) == 1 else "families of networks")
    return found.holding(_over_samples(pairs, statistic))


def _over_samples(
    pairs: list[list[Estimate]], statistic: Callable[[np.ndarray, np.ndarray], float]
) -> Estimate | None:
    """The statistic and its jackknife over the samples: group g is left out in all networks at once.

    None where the networks do not share their samples: what these do is then part of the spread over
    networks.
    """
    first = pairs[0]
    if not all(one.paired_with(other) for pair in pairs for one, other in zip(first, pair, strict=True)):
        return None
    if len({len(one.omitted) for one in first}) > 1:
        return None
    omitted = np.array([[one.omitted for one in pair] for pair in pairs])
    if not (omitted > 0).all():
        return None
    whole = np.log([[one.value for one in pair] for pair in pairs]).T
    each = [statistic(*np.log(omitted[:, :, group]).T) for group in range(omitted.shape[2])]
    pairing = " ".join(one.pairing for one in first)
    return Estimate.of(statistic(*whole), each, first[0].sizes, pairing)


def _families(cells: Cells, among: list[str]) -> list[list[str]]:
    """The networks that are left out together."""
    if len(among) == 1:
        return [[name] for name in cells.matching(among)]
    found, seen = [], set[str]()
    for pattern in among:
        members = [name for name in cells.matching([pattern]) if name not in seen]
        seen |= set(members)
        found += [members] if members else []
    return found


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    along = x - x.mean()
    return float(along @ y / (along @ along)) if along.any() else math.nan


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else math.nan


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    return _correlation(x, y) ** 2
