"""Quantities that relate values: ratios of two, and slopes and correlations over networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from invariscope.common.checks import integer
from invariscope.lab.recipes.quantities.base import (
    Estimate,
    NotFinishedError,
    NoValueError,
    Results,
    bounded,
    pearson,
    quantity,
    slopes,
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
    """Ratio of the value in one cell to that in another, paired if both come from the same samples.

    The interval is that of the difference of logarithms. `to_layer` is the layer of the denominator if it
    differs from that of the numerator; both layers may belong to the same cell.
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
    """Ratio of means over the layers that match any of the patterns, as in `ratio`."""
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
    families: int | None = None,
) -> Estimate:
    """Slope of the least-squares line of log(of) against log(against), with one point per network.

    The interval is a jackknife over networks. With several patterns, networks that match the same
    pattern are left out together, because networks of one family, or training runs of one network, are not
    independent. The error over samples that all networks share is added if it is known.

    If `families` is given, unfinished networks are left out once that many families (with one pattern:
    networks) have a finished one; the page then says how many the interval is over.
    """
    return _over_networks(cells, among, (of, of_layer), (against, layer), slopes, families)


@quantity
def log_correlation(
    cells: Results,
    *,
    among: list[str],
    of: str,
    against: str,
    layer: str = _LAST,
    of_layer: str = _LAST,
    families: int | None = None,
) -> Estimate:
    """Pearson's correlation of log(of) with log(against) over networks; see `log_slope`."""
    found = _over_networks(cells, among, (of, of_layer), (against, layer), pearson, families)
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
    families: int | None = None,
) -> Estimate:
    """Squared correlation, as in `log_correlation`."""
    pair = (of, of_layer), (against, layer)
    found = _over_networks(cells, among, *pair, lambda x, y: pearson(x, y) ** 2, families)
    return bounded(found, 0.0, 1.0)


def quotient(above: Estimate, below: Estimate) -> Estimate:
    """Return the ratio of two positive estimates, with the interval of the difference of their logarithms.

    Raises:
        NoValueError: an estimate is not positive.
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
    statistic: Callable[[np.ndarray, np.ndarray], Any],
    enough: int | None,
) -> Estimate:
    """Return a statistic of (log x, log y) over networks, with its delete-a-group jackknife over families."""
    every = _families(cells, among)
    families = every if enough is None else _finished(cells, every, enough, patterns=len(among))
    names = [name for family in families for name in family]
    if len(families) < _FEWEST:
        raise NoValueError(f"a relation needs {_FEWEST} networks or families, got {len(families)}")
    pairs = [[_value(cells, name, *of, "all") for of in (against, of)] for name in names]
    points = np.array([[estimate.value for estimate in pair] for pair in pairs])
    if not (points > 0).all():
        wrong = names[int((points <= 0).any(axis=1).argmax())]
        raise NoValueError(f"{of[0]} or {against[0]} of {wrong} is not positive")
    x, y = np.log(points).T
    family = np.repeat(np.arange(len(families)), [len(members) for members in families])
    omitted = [statistic(x[family != out], y[family != out]) for out in range(len(families))]
    found = Estimate.of(statistic(x, y), omitted, [len(members) for members in families], " ".join(names))
    found = replace(found, over=_over(families, every, patterns=len(among)))
    return found.holding(_over_samples(pairs, statistic))


def _over(families: list[list[str]], every: list[list[str]], *, patterns: int) -> str:
    """Return what the interval is over, with the numbers of families and networks if some are unfinished."""
    known, planned = (sum(map(len, groups)) for groups in (families, every))
    kind, cells = _kind(patterns), "" if patterns == 1 else f" ({known} of {planned} networks)"
    return kind if known == planned else f"{len(families)} of {len(every)} {kind}{cells}"


def _kind(patterns: int) -> str:
    return "networks" if patterns == 1 else "families of networks"


def _over_samples(
    pairs: list[list[Estimate]], statistic: Callable[[np.ndarray, np.ndarray], Any]
) -> Estimate | None:
    """Return the statistic with its jackknife over samples, leaving out the same group in all networks.

    None if the networks do not share their samples: sampling errors are then part of the spread over
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
    """Return the groups of networks that are left out together."""
    if len(among) == 1:
        return [[name] for name in cells.matching(among)]
    found, seen = [], set[str]()
    for pattern in among:
        members = [name for name in cells.matching([pattern]) if name not in seen]
        seen |= set(members)
        found += [members] if members else []
    return found


def _finished(cells: Results, families: list[list[str]], enough: int, *, patterns: int) -> list[list[str]]:
    """Return the finished networks of each family that has any.

    Raises:
        NotFinishedError: fewer families than `enough` have a finished network.
        ValueError: `enough` is not an integer of at least 4.
    """
    integer("families", enough, least=_FEWEST)
    found = [[name for name in family if _is_finished(cells, name)] for family in families]
    found = [family for family in found if family]
    if len(found) < enough:
        having = "are finished" if patterns == 1 else "have a finished one"
        raise NotFinishedError(
            f"{len(found)} of {len(families)} {_kind(patterns)} {having}; {enough} are needed"
        )
    return found


def _is_finished(cells: Results, name: str) -> bool:
    try:
        cells.result(name)
    except NotFinishedError:
        return False
    return True
