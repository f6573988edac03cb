"""Quantities along the depth of a network: slopes, and changes in early and late layers."""

from __future__ import annotations

import numpy as np

from invariscope.common.registry import unknown
from invariscope.lab.recipes.quantities.base import (
    Estimate,
    NoValueError,
    Results,
    estimate_of,
    quantity,
    replicates_of,
    rows_of,
    slopes,
    spread_over,
)

LAWS = ("exponential", "power")


@quantity
def depth_slope(
    cells: Results,
    *,
    cell: str,
    measure: str,
    layers: list[str] | None = None,
    first: int = 1,
    last: int = 0,
    law: str = "exponential",
    stratum: str = "all",
) -> Estimate:
    """Least-squares slope of the logarithm of a positive value against depth.

    With k counting the matching layers from 1, "exponential" is the slope of log2(value) against k (-1 means
    that the value halves from layer to layer), and "power" that of log(value) against log(k), the exponent of
    a power law. Layers before `first` and after `last` are left out; `last = 0` keeps all.
    """
    if law not in LAWS:
        raise unknown("law", law, LAWS)
    result = cells.result(cell)
    rows = rows_of(cells, cell, measure, stratum, layers=layers)
    number = np.arange(1, len(rows) + 1)
    chosen = (number >= first) & (number <= (last or len(rows)))
    if chosen.sum() < 3:
        raise NoValueError(f"a slope needs three layers; {cell} has {int(chosen.sum())}")
    values, sizes = replicates_of([row for row, kept in zip(rows, chosen, strict=True) if kept])
    if not (values > 0).all():
        raise NoValueError(f"{measure} of {cell} is not positive in every layer, so it has no logarithm")
    depth = number[chosen] if law == "exponential" else np.log(number[chosen])
    found = slopes(depth, np.log2(values) if law == "exponential" else np.log(values))
    return estimate_of(result, found, sizes)


@quantity
def mean_ratio(
    cells: Results, *, among: list[str], to: str, measure: str, layer: str, stratum: str = "all"
) -> Estimate:
    """Geometric mean, over several cells, of the ratio of a layer's value to that in the cell `to`.

    The cells are repeated draws of one experiment, and the interval is over these draws.
    """
    logs = _log_ratios(cells, among, to, measure, [layer], stratum)[:, 0]
    return spread_over(logs.tolist(), "draws").exponential()


@quantity
def late_ratio(
    cells: Results,
    *,
    among: list[str],
    to: str,
    measure: str,
    layers: list[str] | None = None,
    share: float = 0.5,
    stratum: str = "all",
) -> Estimate:
    """Ratio of `mean_ratio` over the last share of the layers to `mean_ratio` over the earlier layers.

    A value above 1 means that the ratio is higher in late layers than in early ones. The interval is over the
    draws.
    """
    logs = _log_ratios(cells, among, to, measure, layers, stratum)
    before = round((1 - share) * logs.shape[1])
    if not 0 < before < logs.shape[1]:
        raise NoValueError(f"{logs.shape[1]} layers of {to} cannot be split into early and late ones")
    contrast = logs[:, before:].mean(axis=1) - logs[:, :before].mean(axis=1)
    return spread_over(contrast.tolist(), "draws").exponential()


def _log_ratios(
    cells: Results, among: list[str], to: str, measure: str, layers: list[str] | None, stratum: str
) -> np.ndarray:
    """Return (cell, layer) logarithms of the ratios of values to those in the cell `to`."""
    names = [name for name in cells.matching(among) if name != to]
    if not names:
        raise NoValueError(f"no cell matches {among}")
    found = [rows_of(cells, name, measure, stratum, layers=layers) for name in (to, *names)]
    values = [[row["value"] for row in rows] for rows in found]
    if len({len(one) for one in values}) > 1 or not (np.array(values) > 0).all():
        raise NoValueError(f"{measure} of {to} and {names[0]} differ in layers, or are not positive")
    logs = np.log(values)
    return logs[1:] - logs[0]
