"""Numbers of one network: over all layers, of one layer, of one point of a curve, along the depth."""

from __future__ import annotations

import math

import numpy as np

from invariscope.intervals import LEVEL, Interval
from invariscope.lab.recipes.quantities.base import (
    NV,
    Estimate,
    NoValueError,
    Results,
    bounded,
    estimate_of,
    pairing_of,
    quantity,
    replicates_of,
    rows_of,
    spread_over,
)

FEWEST_LAYERS = 4


@quantity
def overall(cells: Results, *, cell: str, measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over all finite activations of a network: large layers weigh more than small ones."""
    result = cells.result(cell)
    rows = rows_of(cells, cell, measure, stratum, finite=True)
    values, sizes = replicates_of(rows)
    means = np.average(values, axis=1, weights=[row["counted_units"] for row in rows])
    return estimate_of(result, means, sizes)


@quantity
def layer_mean(
    cells: Results, *, cell: str, measure: str = NV, layers: list[str] | None = None, stratum: str = "all"
) -> Estimate:
    """Mean over the layers of a network that match any of the patterns, each counting once; None: all."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum, layers=layers, finite=True))
    return estimate_of(result, values.mean(axis=1), sizes)


@quantity
def layer_value(
    cells: Results, *, cell: str, measure: str = NV, layer: str = "output", stratum: str = "all"
) -> Estimate:
    """The value of one layer; of predictions the mean over elements, without the identity for flips."""
    result = cells.result(cell)
    rows = [row for row in rows_of(cells, cell, measure, stratum) if row["layer"] == layer]
    if not rows:
        raise NoValueError(f"{cell} has no layer {layer!r} of {measure}")
    values, sizes = replicates_of(rows[:1])
    return estimate_of(result, values[:, 0], sizes)


@quantity
def last_value(cells: Results, *, cell: str, measure: str, stratum: str = "all") -> Estimate:
    """The value of the last layer that has one, whatever the network calls it."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum)[-1:])
    return estimate_of(result, values[:, 0], sizes)


@quantity
def element_value(cells: Results, *, cell: str, measure: str, x: float, layer: str = "output") -> Estimate:
    """One point of a curve: the value at the element whose parameter is `x`."""
    result = cells.result(cell)
    for row in result.curve_rows:
        if (row["measure"], row["layer"], row["stratum"]) == (measure, layer, "all") and row["x"] == x:
            if row.get("replicates"):
                return Estimate.of(row["value"], row["replicates"], row["group_sizes"], pairing_of(result))
            centre = (row["ci_low"] + row["ci_high"]) / 2
            return Estimate(row["value"], Interval(row["ci_low"], row["ci_high"], centre))
    raise NoValueError(f"{cell} has no {measure} of {layer} at {x:g}")


@quantity
def depth_contrast(
    cells: Results, *, cell: str, measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """Mean over the first layers (that share of them, at least one) minus mean over the others."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum, finite=True))
    if values.shape[1] < 2:
        raise NoValueError(f"{cell} has fewer than two layers with a {measure}")
    first = max(1, round(share * values.shape[1]))
    contrast = values[:, :first].mean(axis=1) - values[:, first:].mean(axis=1)
    return estimate_of(result, contrast, sizes)


@quantity
def own_class_contrast(cells: Results, *, cell: str, layer: str, measure: str = NV) -> Estimate:
    """In an output layer with a unit per class: a class's own unit minus the others, mean over classes.

    The interval is over the classes.
    """
    result = cells.result(cell)
    data = result.provenance.get("data", {})
    if not data.get("classes_ordered", True):
        raise NoValueError(f"it is not known which unit of {layer} of {cell} belongs to which class")
    classes = [str(name) for name in data.get("classes", ())]
    for name in classes:
        if (measure, layer, name, 0) not in result.maps:
            raise NoValueError(f"{cell} holds no map of {layer} for class {name}")
    matrix = np.array([result.maps[measure, layer, name].ravel() for name in classes], float)
    if matrix.shape != (len(classes), len(classes)):
        raise NoValueError(f"{layer} of {cell} has {matrix.shape[-1]} units for {len(classes)} classes")
    matrix[~np.isfinite(matrix)] = np.nan
    others = np.nanmean(np.where(np.eye(len(classes), dtype=bool), np.nan, matrix), axis=1)
    return spread_over(np.diag(matrix) - others, "classes")


@quantity
def rank_agreement(
    cells: Results, *, cell: str, measure: str, other: str = NV, stratum: str = "all"
) -> Estimate:
    """Spearman's rank correlation over the layers between two measures of one cell.

    Layers without a finite value of both are left out. 1: both order the layers alike; -1: in opposite
    directions, as a measure that grows with invariance does beside one that falls. Coarse with few layers.
    """
    result = cells.result(cell)
    rows = [rows_of(cells, cell, name, stratum) for name in (measure, other)]
    first, second = (
        {(row["layer"], row["call"]): row for row in part if math.isfinite(row["value"])} for part in rows
    )
    layers = [layer for layer in first if layer in second]
    if len(layers) < FEWEST_LAYERS:
        raise NoValueError(
            f"an order of layers needs {FEWEST_LAYERS}; {cell} has {len(layers)} with {measure} and {other}"
        )
    (x, sizes), (y, others) = (replicates_of([part[layer] for layer in layers]) for part in (first, second))
    known = len(x) if sizes == others else 1
    found = estimate_of(result, np.array([_spearman(x[k], y[k]) for k in range(known)]), sizes)
    return bounded(found, -1.0, 1.0)


@quantity
def beyond_chance(
    cells: Results, *, cell: str, measure: str, layer: str | None = None, stratum: str = "all"
) -> Estimate:
    """A correlation's z against permuted labels: in deviations of the permutations, from their mean.

    The interval is ± 1.96, the reach of a standard normal variable, which z is without a relation; it says
    nothing about other draws of the weights.

    Args:
        cell: one that reads weights.
        measure: "rotation_coupling.z" or "head_correlation.z".
        layer: whose; None: the first.
        stratum: "all" for the trained network, or "epoch 0" and so on.
    """
    from scipy import special

    rows = [
        row
        for row in rows_of(cells, cell, measure, stratum)
        if layer in (None, row["layer"]) and math.isfinite(row["value"])
    ]
    if not rows:
        raise NoValueError(f"{cell} holds no finite {measure} of {layer or 'any layer'}")
    z, reach = rows[0]["value"], float(special.ndtri(0.5 + LEVEL / 2))
    return Estimate(z, Interval(z - reach, z + reach, z, 1.0, math.inf), over="permutations")


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.stats import rankdata

    x, y = rankdata(x), rankdata(y)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else float("nan")
