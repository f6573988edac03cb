"""Numbers of one network: over all layers, of one layer, of one point of a curve, along the depth."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from invariscope.intervals import Interval
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


@quantity
def overall(cells: Cells, *, cell: str, measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over all finite activations of a network: large layers weigh more than small ones."""
    result = cells.result(cell)
    rows = [row for row in rows_of(result, measure, stratum) if np.isfinite(row["value"])]
    if not rows:
        raise NoValueError(f"no layer of {cell} has a finite {measure}")
    values, sizes = replicates_of(rows)
    means = np.average(values, axis=1, weights=[row["counted_units"] for row in rows])
    return Estimate.of(means[0], means[1:].tolist(), sizes, pairing_of(result))


@quantity
def layer_mean(
    cells: Cells, *, cell: str, measure: str = NV, layers: list[str] | None = None, stratum: str = "all"
) -> Estimate:
    """Mean over the layers of a network that match any of the patterns, each counting once; None: all."""
    result = cells.result(cell)
    rows = [row for row in rows_of(result, measure, stratum) if np.isfinite(row["value"])]
    rows = [row for row in rows if any(fnmatchcase(row["layer"], pattern) for pattern in layers or ["*"])]
    if not rows:
        raise NoValueError(f"no layer of {cell} that matches {layers or ['*']} has a finite {measure}")
    values, sizes = replicates_of(rows)
    means = values.mean(axis=1)
    return Estimate.of(means[0], means[1:].tolist(), sizes, pairing_of(result))


@quantity
def layer_value(
    cells: Cells, *, cell: str, measure: str = NV, layer: str = "output", stratum: str = "all"
) -> Estimate:
    """The value of one layer; of predictions the mean over elements, without the identity for flips."""
    result = cells.result(cell)
    rows = [row for row in rows_of(result, measure, stratum) if row["layer"] == layer]
    if not rows:
        raise NoValueError(f"{cell} has no layer {layer!r} of {measure}")
    values, sizes = replicates_of(rows[:1])
    return Estimate.of(values[0, 0], values[1:, 0].tolist(), sizes, pairing_of(result))


@quantity
def element_value(cells: Cells, *, cell: str, measure: str, x: float, layer: str = "output") -> Estimate:
    """One point of a curve: the value at the element whose parameter is `x`."""
    result = cells.result(cell)
    for row in result.curve_rows:
        if (row["measure"], row["layer"], row["stratum"]) == (measure, layer, "all") and row["x"] == x:
            if row.get("replicates"):
                omitted, sizes = row["replicates"], row["group_sizes"]
                return Estimate.of(row["value"], omitted, sizes, pairing_of(result))
            centre = (row["ci_low"] + row["ci_high"]) / 2
            return Estimate(row["value"], Interval(row["ci_low"], row["ci_high"], centre))
    raise NoValueError(f"{cell} has no {measure} of {layer} at {x:g}")


@quantity
def depth_contrast(
    cells: Cells, *, cell: str, measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """Mean over the first layers (that share of them, at least one) minus mean over the others."""
    result = cells.result(cell)
    values, sizes = replicates_of([r for r in rows_of(result, measure, stratum) if np.isfinite(r["value"])])
    if values.shape[1] < 2:
        raise NoValueError(f"{cell} has fewer than two layers with a {measure}")
    first = max(1, round(share * values.shape[1]))
    contrast = values[:, :first].mean(axis=1) - values[:, first:].mean(axis=1)
    return Estimate.of(contrast[0], contrast[1:].tolist(), sizes, pairing_of(result))
