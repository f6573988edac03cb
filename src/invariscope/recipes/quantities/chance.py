"""Numbers against chance: how far from those of permuted labels."""

from __future__ import annotations

import math

from invariscope.intervals import LEVEL, Interval
from invariscope.recipes.quantities.base import Cells, Estimate, NoValueError, quantity, rows_of


@quantity
def beyond_chance(
    cells: Cells, *, cell: str, measure: str, layer: str | None = None, stratum: str = "all"
) -> Estimate:
    """An analysis' correlation, in deviations of the permuted ones and from their mean: its z.

    The interval is ± 1.96, the reach of a standard normal variable, which z is without a relation; it says
    nothing of other draws of the weights.

    Args:
        cell: one that reads weights.
        measure: "rotation_coupling.z" or "head_correlation.z".
        layer: whose; None: the first.
        stratum: "all" for the trained network, or "epoch 0" and so on.
    """
    from scipy import special

    rows = [
        row
        for row in rows_of(cells.result(cell), measure, stratum)
        if layer in (None, row["layer"]) and math.isfinite(row["value"])
    ]
    if not rows:
        raise NoValueError(f"{cell} holds no finite {measure} of {layer or 'any layer'}")
    z, reach = rows[0]["value"], float(special.ndtri(0.5 + LEVEL / 2))
    return Estimate(z, Interval(z - reach, z + reach, z, 1.0, math.inf), over="permutations")
