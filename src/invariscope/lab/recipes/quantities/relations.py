"""Numbers set against each other: ratios of two, and what holds over many networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from invariscope.lab.recipes.quantities.base import (
    Estimate,
    NoValueError,
    Results,
    bounded,
    quantity,
)
from invariscope.lab.recipes.quantities.layers import last_value, layer_mean, layer_value

_LAST = "last"
_FEWEST = 4


@quantity
def ratio(
    cells: Results,
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
    cells: Results,
    *,
    cell: str,
    to: str,
    measure: str,
    layers: list[str] | None = None,
    stratum: str = "all",
) -> Estimate:
    """As `ratio`, but of means over the layers that match any of the patterns."""
    above, below = (
        layer_mean(cells, cell=name, measure=measure, layers=layers, stratum=stratum) for name in (cell, to)
    )
    return quotient(above, below)


@quantity
def log_slope(
    cells: Results,
    *,
    among: list[str],
    of: str,
    against: str,
    layer: str = _LAST,
    of_layer: str = _LAST,
) -> Estimate:
    """Slope of the least-squares line through log(of) over log(against), a point a network.

    The interval leaves out networks in turn: all that one of the patterns matches, where there are several
    patterns, for networks of one family (and trainings of one network) are no independent witnesses; else
    one after the other. The error over samples that all networks share is added, where it is known.
    """
    return _over_networks(cells, among, (of, of_layer), (against, layer), _slope)


@quantity
def log_correlation(
    cells: Results,
    *,
    among: list[str],
    of: str,
    against: str,
    layer: str = _LAST,
    of_layer: str = _LAST,
) -> Estimate:
    """Pearson's correlation of log(of) with log(against) over networks; the interval as that of the slope."""
    found = _over_networks(cells, among, (of, of_layer), (against, layer), _correlation)
    return bounded(found, -1.0, 1.0)


@quantity
def log_explained(
    cells: Results,
    *,
    among: list[str],
    of: str,
    against: str,
    layer: str = _LAST,
    of_layer: str = _LAST,
) -> Estimate:
    """The share of the variance of log(of) over networks that log(against) explains, whatever the direction.

    The square of the correlation; the interval as that of the slope, between 0 and 1.
    """
    found = _over_networks(cells, among, (of, of_layer), (against, layer), _explained)
    return bounded(found, 0.0, 1.0)


def quotient(above: Estimate, below: Estimate) -> Estimate:
    """One positive estimate over another, with the interval of the difference of their logarithms.

    Raises:
        NoValueError: one of them is not positive.
    """
    return above.logarithm().minus(below.logarithm()).exponential()


def _value(cells: Results, cell: str, measure: str, layer: str, stratum: str) -> Estimate:
    if layer == _LAST:
        return last_value(cells, cell=cell, measure=measure, stratum=stratum)
    return layer_value(cells, cell=cell, measure=measure, layer=layer, stratum=stratum)


def _over_networks(
    cells: Results,
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


def _families(cells: Results, among: list[str]) -> list[list[str]]:
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
