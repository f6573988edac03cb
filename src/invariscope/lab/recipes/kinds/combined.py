"""Combine a result over all samples with results of single classes, and add the mean over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from invariscope.intervals import MISSING, jackknife
from invariscope.results.rows import Row

if TYPE_CHECKING:
    from invariscope.results.maps import DrawnMap, MapKey
from invariscope.results.result import Result

_Key = tuple[str, str, int]


def combined(whole: Result, parts: Mapping[str, Result]) -> Result:
    """Return the result over all samples, with the classes and their mean as further strata.

    Maps of the mean are per-unit means over the classes, ignoring values that are not finite; the layer value
    of the stratum "mean" is the mean over the units of its map.

    Args:
        whole: result over all samples.
        parts: result of each class, measured separately.
    """
    rows = [*whole.rows]
    arrays: dict[MapKey, np.ndarray | DrawnMap] = dict(whole.arrays)
    for name, part in parts.items():
        rows += [replace(row, stratum=name) for row in part.rows]
        arrays |= {(m, layer, name, call): a for (m, layer, _, call), a in part.arrays.items()}
    for measure, layer, _, call in whole.arrays:
        key = (measure, layer, call)
        arrays[measure, layer, "mean", call] = mean = _mean_map(key, parts)
        rows.append(_mean_row(key, mean, parts))
    notes = [*whole.provenance.get("notes", []), "each class was measured by itself"]
    return replace(whole, rows=tuple(rows), arrays=arrays, provenance={**whole.provenance, "notes": notes})


def _mean_map(key: _Key, parts: Mapping[str, Result]) -> np.ndarray:
    measure, layer, call = key
    stack = np.stack([part.maps[measure, layer, "all", call] for part in parts.values()]).astype(float)
    finite = np.isfinite(stack)
    count = finite.sum(axis=0)
    total = np.where(finite, stack, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _mean_row(key: _Key, array: np.ndarray, parts: Mapping[str, Result]) -> Row:
    rows = [_row(part, key) for part in parts.values()]
    counted = int(np.isfinite(array).sum())
    value = float(np.nanmean(array)) if counted else float("nan")
    found = Row(
        measure=key[0], layer=key[1], call=key[2], stratum="mean", output=rows[0].output, value=value,
        samples=sum(row["samples"] for row in rows), elements=rows[0]["elements"],
        units=array.size, counted_units=counted, **MISSING.columns,
    )  # fmt: skip
    if not all(row.replicates for row in rows):
        return replace(found, note="no interval: a class has too few samples")
    # Means over classes with one group left out at a time, shifted to be centred on the mean of the map.
    omitted = np.mean([row.replicates for row in rows], axis=0)
    omitted = omitted + value - np.mean([row.value for row in rows])
    sizes = np.sum([row.group_sizes for row in rows], axis=0).tolist()
    interval = jackknife(value, omitted.tolist(), sizes) if np.isfinite(omitted).all() else MISSING
    return replace(found, **interval.columns, replicates=omitted.tolist(), group_sizes=sizes)


def _row(result: Result, key: _Key) -> Row:
    return next(row for row in result.rows if (row.measure, row.layer, row.call) == key)
