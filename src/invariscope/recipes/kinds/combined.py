"""One result of several: all samples, each class measured by itself, and the mean over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.intervals import MISSING, jackknife

if TYPE_CHECKING:
    from invariscope.results.result import MapKey, Result

_Key = tuple[str, str, int]


def combined(whole: Result, parts: Mapping[str, Result]) -> Result:
    """The result over all samples, with those of the classes as further strata, and their mean.

    Maps of the mean are per-unit means over the classes where they are finite; the mean's layer value is
    the mean over the units of that map.

    Args:
        whole: over all samples.
        parts: by class, each measured alone.
    """
    rows = [*whole.rows]
    arrays: dict[MapKey, np.ndarray] = dict(whole.arrays)
    for name, part in parts.items():
        rows += [{**row, "stratum": name} for row in part.rows]
        arrays |= {(m, layer, name, call): a for (m, layer, _, call), a in part.arrays.items()}
    means = {key: _mean_map(key, parts) for key in _keys(whole)}
    arrays |= {(key[0], key[1], "mean", key[2]): array for key, array in means.items()}
    rows += [_mean_row(key, array, parts) for key, array in means.items()]
    notes = [*whole.provenance.get("notes", []), "each class was measured by itself"]
    return replace(whole, rows=tuple(rows), arrays=arrays, provenance={**whole.provenance, "notes": notes})


def _keys(result: Result) -> list[_Key]:
    """(measure, layer, call) of everything that has a map."""
    return [(m, layer, call) for m, layer, _, call in result.arrays]


def _mean_map(key: _Key, parts: Mapping[str, Result]) -> np.ndarray:
    measure, layer, call = key
    stack = np.stack([part.arrays[measure, layer, "all", call] for part in parts.values()]).astype(float)
    finite = np.isfinite(stack)
    count = finite.sum(axis=0)
    total = np.where(finite, stack, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _mean_row(key: _Key, array: np.ndarray, parts: Mapping[str, Result]) -> dict[str, Any]:
    rows = [_row(part, key) for part in parts.values()]
    counted = int(np.isfinite(array).sum())
    value = float(np.nanmean(array)) if counted else float("nan")
    found: dict[str, Any] = {
        "measure": key[0], "layer": key[1], "call": key[2], "stratum": "mean", "value": value,
        "samples": sum(row["samples"] for row in rows), "elements": rows[0]["elements"],
        "units": array.size, "counted_units": counted, **MISSING.columns,
    }  # fmt: skip
    if not all(row.get("replicates") for row in rows):
        return found | {"note": "no interval: a class has too few samples"}
    # The class values without one group each; moved, so that they stand around the map's own mean.
    omitted = np.mean([row["replicates"] for row in rows], axis=0)
    omitted = omitted + value - np.mean([row["value"] for row in rows])
    sizes = np.sum([row["group_sizes"] for row in rows], axis=0).tolist()
    interval = jackknife(value, omitted.tolist(), sizes) if np.isfinite(omitted).all() else MISSING
    return found | interval.columns | {"replicates": omitted.tolist(), "group_sizes": sizes}


def _row(result: Result, key: _Key) -> Mapping[str, Any]:
    return next(row for row in result.rows if (row["measure"], row["layer"], row["call"]) == key)
