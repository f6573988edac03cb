"""Quantities of one network: over all layers, of one layer, or at one point of a curve."""

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
    pearson,
    quantity,
    replicates_of,
    rows_of,
    spread_over,
)

FEWEST_LAYERS = 4


@quantity
def overall(cells: Results, *, cell: str, measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over all units of a network that have a finite value; large layers weigh more."""
    result = cells.result(cell)
    rows = rows_of(cells, cell, measure, stratum, finite=True)
    values, sizes = replicates_of(rows)
    means = np.average(values, axis=1, weights=[row["counted_units"] for row in rows])
    return estimate_of(result, means, sizes)


@quantity
def layer_mean(
    cells: Results, *, cell: str, measure: str = NV, layers: list[str] | None = None, stratum: str = "all"
) -> Estimate:
    """Unweighted mean over the layers that match any of the patterns; None: all layers."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum, layers=layers, finite=True))
    return estimate_of(result, values.mean(axis=1), sizes)


@quantity
def layer_value(
    cells: Results, *, cell: str, measure: str = NV, layer: str = "output", stratum: str = "all"
) -> Estimate:
    """Value of one layer; for predictions, the mean over elements (for flips, without the identity)."""
    result = cells.result(cell)
    rows = [row for row in rows_of(cells, cell, measure, stratum) if row["layer"] == layer]
    if not rows:
        raise NoValueError(f"{cell} has no layer {layer!r} of {measure}")
    values, sizes = replicates_of(rows[:1])
    return estimate_of(result, values[:, 0], sizes)


@quantity
def last_value(cells: Results, *, cell: str, measure: str, stratum: str = "all") -> Estimate:
    """Value of the last layer that has one."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum)[-1:])
    return estimate_of(result, values[:, 0], sizes)


@quantity
def element_value(cells: Results, *, cell: str, measure: str, x: float, layer: str = "output") -> Estimate:
    """Value of a curve at the element whose parameter is `x`."""
    result = cells.result(cell)
    for point in result.curve_rows:
        if (point.measure, point.layer, point.stratum, point.x) == (measure, layer, "all", x):
            if point.replicates:
                return Estimate.of(point.value, point.replicates, point.group_sizes, pairing_of(result))
            centre = (point.ci_low + point.ci_high) / 2
            return Estimate(point.value, Interval(point.ci_low, point.ci_high, centre))
    raise NoValueError(f"{cell} has no {measure} of {layer} at {x:g}")


@quantity
def depth_contrast(
    cells: Results, *, cell: str, measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """Mean over the first share of the layers (at least one) minus the mean over the others."""
    result = cells.result(cell)
    values, sizes = replicates_of(rows_of(cells, cell, measure, stratum, finite=True))
    if values.shape[1] < 2:
        raise NoValueError(f"{cell} has fewer than two layers with a {measure}")
    first = max(1, round(share * values.shape[1]))
    contrast = values[:, :first].mean(axis=1) - values[:, first:].mean(axis=1)
    return estimate_of(result, contrast, sizes)


@quantity
def own_class_contrast(cells: Results, *, cell: str, layer: str, measure: str = NV) -> Estimate:
    """Mean, over classes, of the value of the class's own output unit minus the mean of the other units.

    For an output layer with one unit per class. The interval is over the classes.
    """
    result = cells.result(cell)
    data = result.provenance.get("data", {})
    if not data.get("classes_ordered", True):
        raise NoValueError(f"{cell} does not state the order of its classes, which the units of {layer} need")
    classes = [str(name) for name in data.get("classes", ())]
    for name in classes:
        if (measure, layer, name, 0) not in result.maps:
            raise NoValueError(f"{cell} has no map of {layer} for class {name}")
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
    """Spearman's rank correlation over layers between two measures of one cell.

    Layers without a finite value of both measures are left out. A correlation of 1 means the same order of
    layers, -1 the opposite order, as expected if one measure grows with invariance and the other falls. The
    correlation can take only few values if there are few layers.
    """
    from scipy.stats import rankdata

    result = cells.result(cell)
    rows = [rows_of(cells, cell, name, stratum) for name in (measure, other)]
    first, second = ({row.key: row for row in part if math.isfinite(row.value)} for part in rows)
    layers = [layer for layer in first if layer in second]
    if len(layers) < FEWEST_LAYERS:
        raise NoValueError(
            f"a rank correlation needs {FEWEST_LAYERS} layers; {cell} has {len(layers)} with {measure} and "
            f"{other}"
        )
    (x, sizes), (y, others) = (replicates_of([part[layer] for layer in layers]) for part in (first, second))
    known = len(x) if sizes == others else 1
    ranked = [pearson(rankdata(x[k]), rankdata(y[k])) for k in range(known)]
    return bounded(estimate_of(result, np.array(ranked), sizes), -1.0, 1.0)


@quantity
def beyond_chance(
    cells: Results, *, cell: str, measure: str, layer: str | None = None, stratum: str = "all"
) -> Estimate:
    """The z-score of a correlation relative to permuted labels.

    The interval is z ± 1.96, because z is standard normal if there is no relation. It does not cover the
    variation between draws of the weights.

    Args:
        cells: the results.
        cell: a cell that analyses weights.
        measure: "rotation_coupling.z" or "head_correlation.z".
        layer: the layer; None: the first.
        stratum: "all" for the trained network, or a stage such as "epoch 0".
    """
    from scipy import special

    rows = rows_of(cells, cell, measure, stratum)
    values = [row.value for row in rows if layer in (None, row.layer) and math.isfinite(row.value)]
    if not values:
        raise NoValueError(f"{cell} has no finite {measure} of {layer or 'any layer'}")
    z, reach = values[0], float(special.ndtri(0.5 + LEVEL / 2))
    return Estimate(z, Interval(z - reach, z + reach, z, 1.0, math.inf), over="permutations")
