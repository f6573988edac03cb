"""How a value goes on from layer to layer: slopes along the depth, and what a change does early and late."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from invariscope.common.registry import unknown
from invariscope.recipes.quantities.base import (
    Cells,
    Estimate,
    NoValueError,
    pairing_of,
    quantity,
    replicates_of,
    rows_of,
    spread_over,
)
from invariscope.results.rows import Row

LAWS = ("exponential", "power")


@quantity
def depth_slope(
    cells: Cells,
    *,
    cell: str,
    measure: str,
    layers: list[str] | None = None,
    first: int = 1,
    last: int = 0,
    law: str = "exponential",
    stratum: str = "all",
) -> Estimate:
    """Slope along the depth of the logarithm of a positive value, by least squares over layers.

    With k counting the layers that match from 1: "exponential" is the slope of log2(value) over k, so -1
    halves from layer to layer; "power" that of log(value) over log(k), the exponent of a power law. Layers
    before the `first` and after the `last` are left out; 0: none after.
    """
    if law not in LAWS:
        raise unknown("law", law, LAWS)
    rows, result = _layers(cells, cell, measure, layers, stratum), cells.result(cell)
    number = np.arange(1, len(rows) + 1)
    chosen = (number >= first) & (number <= (last or len(rows)))
    if chosen.sum() < 3:
        raise NoValueError(f"a slope needs three layers; {cell} has {int(chosen.sum())} of them")
    values, sizes = replicates_of([row for row, kept in zip(rows, chosen, strict=True) if kept])
    if not (values > 0).all():
        raise NoValueError(f"{measure} of {cell} is not positive in every layer, and so has no logarithm")
    depth = number[chosen] if law == "exponential" else np.log(number[chosen])
    slopes = _slopes(depth, np.log2(values) if law == "exponential" else np.log(values))
    return Estimate.of(slopes[0], slopes[1:].tolist(), sizes, pairing_of(result))


@quantity
def mean_ratio(
    cells: Cells, *, among: list[str], to: str, measure: str, layer: str, stratum: str = "all"
) -> Estimate:
    """Geometric mean over several cells of a layer's value relative to that in one cell.

    For draws of the same thing; the interval is over the draws.
    """
    logs = _log_ratios(cells, among, to, measure, [layer], stratum)[:, 0]
    return spread_over(logs.tolist(), "draws").exponential()


@quantity
def late_ratio(
    cells: Cells,
    *,
    among: list[str],
    to: str,
    measure: str,
    layers: list[str] | None = None,
    share: float = 0.5,
    stratum: str = "all",
) -> Estimate:
    """As `mean_ratio`, over the last share of the layers, divided by that over the layers before.

    Above 1, what distinguishes the cells shows in late layers more than in early ones. The interval is over
    the draws.
    """
    logs = _log_ratios(cells, among, to, measure, layers, stratum)
    before = round((1 - share) * logs.shape[1])
    if not 0 < before < logs.shape[1]:
        raise NoValueError(f"{logs.shape[1]} layers of {to} cannot be parted into early and late ones")
    contrast = logs[:, before:].mean(axis=1) - logs[:, :before].mean(axis=1)
    return spread_over(contrast.tolist(), "draws").exponential()


def _layers(cells: Cells, cell: str, measure: str, layers: list[str] | None, stratum: str) -> list[Row]:
    """The rows of the layers that match any of the patterns, in the order in which they run."""
    rows = rows_of(cells.result(cell), measure, stratum)
    found = [
        row for row in rows if layers is None or any(fnmatchcase(row["layer"], pattern) for pattern in layers)
    ]
    if not found:
        raise NoValueError(f"{cell} has no {measure} of layers {layers}")
    return found


def _slopes(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(replicate,) of values (replicate, layer)."""
    along = x - x.mean()
    return values @ along / (along @ along)


def _log_ratios(
    cells: Cells, among: list[str], to: str, measure: str, layers: list[str] | None, stratum: str
) -> np.ndarray:
    """(cell, layer) logarithms of the values over those in the cell `to`."""
    names = [name for name in cells.matching(among) if name != to]
    if not names:
        raise NoValueError(f"no cell matches {among}")
    values = [
        [row["value"] for row in _layers(cells, name, measure, layers, stratum)] for name in (to, *names)
    ]
    if len({len(one) for one in values}) > 1 or not (np.array(values) > 0).all():
        raise NoValueError(f"{measure} of {to} and {names[0]} has other layers, or is not positive")
    logs = np.log(values)
    return logs[1:] - logs[0]
