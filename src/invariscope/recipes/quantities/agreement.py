"""Whether two measures of one network say the same of its layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from invariscope.recipes.quantities.base import (
    NV,
    Cells,
    Estimate,
    NoValueError,
    pairing_of,
    quantity,
    replicates_of,
    rows_of,
)
from invariscope.results.rows import Row

FEWEST_LAYERS = 4


@quantity
def rank_agreement(
    cells: Cells, *, cell: str, measure: str, other: str = NV, stratum: str = "all"
) -> Estimate:
    """Spearman's rank correlation over the layers between two measures of one cell.

    Layers without a finite value of both are left out. 1: both order the layers alike; -1: the other way
    round, as a measure that grows with invariance does beside one that falls. With few layers it is coarse.
    """
    result = cells.result(cell)
    first, second = (
        {
            (row["layer"], row["call"]): row
            for row in rows_of(result, name, stratum)
            if np.isfinite(row["value"])
        }
        for name in (measure, other)
    )
    layers = [layer for layer in first if layer in second]
    if len(layers) < FEWEST_LAYERS:
        raise NoValueError(
            f"an order of layers needs {FEWEST_LAYERS}; {cell} has {len(layers)} with {measure} and {other}"
        )
    (x, sizes), (y, others) = (replicates_of([rows[layer] for layer in layers]) for rows in (first, second))
    known = len(x) if sizes == others else 1
    found = [_spearman(x[k], y[k]) for k in range(known)]
    estimate = Estimate.of(found[0], found[1:], sizes, pairing_of(result))
    low, high = max(estimate.interval.low, -1.0), min(estimate.interval.high, 1.0)
    return replace(estimate, interval=replace(estimate.interval, low=low, high=high))


def _finite(rows: list[Row]) -> dict[tuple[str, int], Row]:
    return {(row["layer"], row["call"]): row for row in rows if np.isfinite(row["value"])}


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import rankdata

    x, y = rankdata(x), rankdata(y)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else float("nan")
