"""Means over classes: of layer values, of maps, and of unit counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from invariscope.measures.values import LayerValues, UnitValues
from invariscope.results.rows import ABSENT


def left_out(parts: Sequence[LayerValues]) -> float:
    """Return the total number of terms that the parts left out; `ABSENT` if none can leave out terms."""
    counts = [part.undefined for part in parts if part.undefined is not None]
    return sum(counts) if counts else ABSENT


def mean_over_classes(replicates: np.ndarray) -> np.ndarray:
    """Return the (replicate,) means of (class, replicate) values over the classes that have a value.

    A replicate that any of these classes lacks is NaN, since its mean would be over fewer classes.

    >>> mean_over_classes(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, np.nan], [np.nan, np.nan, 1.0]]))
    array([ 2.,  3., nan])
    """
    known = replicates[np.isfinite(replicates[:, 0])]
    usable = np.isfinite(known).all(axis=0) & (len(known) > 0)
    return np.where(usable, np.where(np.isfinite(known), known, 0.0).sum(axis=0) / max(len(known), 1), np.nan)


def counts_over_classes(parts: list[UnitValues]) -> dict[str, Any]:
    """Return the null and the unit counts of the mean over classes."""
    finite = np.any([np.isfinite(part.values[0]) for part in parts], axis=0)
    counted = np.any([part.counted for part in parts], axis=0)
    examined = True if parts[0].examined is None else parts[0].examined
    dead = int((examined & ~finite).sum())
    return {
        "null": float(finite_mean(np.array([part.layer_null() for part in parts]))),
        "units": parts[0].units,
        "units_total": parts[0].total,
        "drawing_error": 0.0 if parts[0].units == parts[0].total else ABSENT,
        "dead_units": dead,
        "sparse_units": int((examined & ~counted).sum()) - dead,
        "counted_units": int(counted.sum()),
    }


def finite_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of finite values over the leading axis; NaN, without a warning, if there are none."""
    finite = np.isfinite(values)
    counts = finite.sum(axis=0)
    sums = np.where(finite, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
