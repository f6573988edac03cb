"""Numbers of the classes against each other."""

from __future__ import annotations

import numpy as np

from invariscope.recipes.quantities.base import NV, Cells, Estimate, NoValueError, quantity, spread_over


@quantity
def own_class_contrast(cells: Cells, *, cell: str, layer: str, measure: str = NV) -> Estimate:
    """In an output layer with a unit a class: a class's own unit minus the other units, mean over classes.

    The interval is over the classes.
    """
    result = cells.result(cell)
    data = result.provenance.get("data", {})
    if not data.get("classes_ordered", True):
        raise NoValueError(f"it is not known which unit of {layer} of {cell} belongs to which class")
    classes = [str(name) for name in data.get("classes", ())]
    rows = []
    for name in classes:
        if (measure, layer, name, 0) not in result.maps:
            raise NoValueError(f"{cell} holds no map of {layer} for class {name}")
        rows.append(result.maps[measure, layer, name].ravel())
    matrix = np.array(rows, float)
    if matrix.shape != (len(classes), len(classes)):
        raise NoValueError(f"{layer} of {cell} has {matrix.shape[-1]} units for {len(classes)} classes")
    matrix[~np.isfinite(matrix)] = np.nan
    own = np.diag(matrix)
    others = np.nanmean(np.where(np.eye(len(classes), dtype=bool), np.nan, matrix), axis=1)
    return spread_over(own - others, "classes")
