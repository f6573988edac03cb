"""The parts of a row of results: its interval, or why it has none, and means over units and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.intervals import (
    ENOUGH,
    GROUPS,
    MIN_PER_GROUP,
    MISSING,
    NOT_YET,
    TOO_FEW,
    Interval,
    jackknife,
)
from invariscope.measures.values import ElementValues, LayerValues, UnitValues, Values
from invariscope.readers.base import LayerKey

NO_UNIT = "no unit is left to average over: all are dead, sparse or infinite"
_NOTHING = "no value: what it is made of is undefined for all samples, or it is 0 divided by 0"
_INFINITE = "infinite: it is divided by 0"


@dataclass(frozen=True)
class Stratum:
    """A part of the samples: its label, its buckets by group, how many samples each group has.

    Args:
        reach: how many times as wide its intervals are, for what chose the number of samples.
        why: why its samples are in one group, where they are.
        clusters: number of clusters per group; None if there are no clusters.
    """

    label: str
    members: list[list[int]]
    sizes: np.ndarray
    reach: float = 1.0
    why: str = ""
    clusters: np.ndarray | None = None

    @property
    def reason(self) -> str:
        """Why no interval can be issued; empty where one can."""
        if len(self.sizes) < GROUPS:
            return f"no interval: {self.why}"
        counts, what = (self.sizes, "samples") if self.clusters is None else (self.clusters, "clusters")
        if counts.min() < MIN_PER_GROUP:
            return f"{TOO_FEW} {counts.min()} {what}, {MIN_PER_GROUP} are needed; {ENOUGH}"
        return ""


def layer_replicates(part: Values) -> np.ndarray:
    """(replicate,) values of the layer."""
    return part.layer_values() if isinstance(part, UnitValues | ElementValues) else part.values


def beyond_float32(values: np.ndarray) -> bool:
    """Whether a finite value is too large or too small for float32, as squares of extreme responses are."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    limits = np.finfo(np.float32)
    return bool(((size > limits.max) | (size < limits.tiny)).any())


def row_of(
    name: str,
    key: LayerKey,
    stratum: Stratum,
    elements: int,
    layer: np.ndarray,
    ratio: np.ndarray | None,
    bounds: tuple[float, float],
    uncovered: str = "",
) -> dict[str, Any]:
    """The row of one output of one layer, with its interval or the reason why there is none.

    Args:
        layer: (replicate,) values: of all samples, and without each group of them.
        ratio: (replicate,) of the ratio of means that stands beside them.
        bounds: smallest and largest possible value.
        uncovered: why an interval would not cover; "" where it would.
    """
    interval = MISSING if uncovered else interval_of(layer, stratum, bounds)
    row: dict[str, Any] = {
        "measure": name,
        "layer": key[0],
        "call": key[1],
        "stratum": stratum.label,
        "value": float(layer[0]),
        **interval.columns,
        "samples": int(stratum.sizes.sum()),
        "elements": elements,
    }
    if why := why_none(uncovered, stratum.reason if stratum.members else ""):
        row |= {"note": why} | ({"group_sizes": stratum.sizes.tolist()} if len(layer) > 1 else {})
    elif len(layer) > 1:
        row |= {"reach": stratum.reach} if stratum.reach != 1 else {}
        row |= {"replicates": layer[1:].tolist(), "group_sizes": stratum.sizes.tolist()}
    if len(layer) > 1 and not uncovered and not np.isfinite(interval.low):
        row["note"] = "no interval: without one of the groups it has no value"
    if not np.isfinite(layer[0]):
        row["note"] = _NOTHING if np.isnan(layer[0]) else _INFINITE
    if ratio is not None:
        around = interval_of(ratio, stratum, bounds)
        row |= {"value_ratio": float(ratio[0]), "ratio_low": around.low, "ratio_high": around.high}
        row |= {"ratio_replicates": ratio[1:].tolist()} if len(ratio) > 1 else {}
    return row


def why_none(uncovered: str, reason: str) -> str:
    """Why there is no interval: of what more samples would mend, that there are too few comes first."""
    return reason if reason and (not uncovered or uncovered.startswith(NOT_YET)) else uncovered


def interval_of(values: np.ndarray, stratum: Stratum, bounds: tuple[float, float]) -> Interval:
    """The jackknife interval, cut at the smallest and largest value that the measure can have."""
    if len(values) < 2:
        return MISSING
    found = jackknife(float(values[0]), values[1:].tolist(), stratum.sizes.tolist(), reach=stratum.reach)
    return found.within(*bounds)


def left_out(parts: Sequence[Values]) -> dict[str, int]:
    """Return the column `undefined`: how many terms all parts left out, if any part can leave out terms."""
    found = (part.undefined for part in parts if isinstance(part, LayerValues))
    counts = [count for count in found if count is not None]
    return {"undefined": sum(counts)} if counts else {}


def with_note(row: dict[str, Any], note: str) -> dict[str, Any]:
    """The row with what its measure says of it: beside why it has no interval, instead of why no value."""
    told = [row["note"]] if "note" in row and np.isfinite(row["value"]) else []
    return row | {"note": "; ".join([*told, note])} if note else row


def mean_units(parts: list[UnitValues]) -> tuple[dict[str, Any], np.ndarray]:
    """Counts of units, and the map of means, from those of the classes."""
    maps = np.stack([np.where(np.isfinite(part.values[0]), part.values[0], np.nan) for part in parts])
    examined = True if parts[0].examined is None else parts[0].examined
    nulls = np.array([part.layer_null() for part in parts])
    columns = {
        "null": float(finite_mean(nulls[:, None])[0]),
        "units": parts[0].units,
        "dead_units": int((examined & np.isnan(maps).all(axis=0)).sum()),
        "sparse_units": int((examined & ~np.any([part.counted for part in parts], axis=0)).sum()),
    }
    columns["sparse_units"] -= columns["dead_units"]
    columns["counted_units"] = int(np.any([part.counted for part in parts], axis=0).sum())
    return columns, finite_mean(maps)


def mean_over_classes(replicates: np.ndarray) -> np.ndarray:
    """Return (replicate,) the mean of (class, replicate) values over the classes that have a value.

    A replicate that one of these classes lacks is NaN, since it would be a mean over fewer classes.

    >>> mean_over_classes(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, np.nan], [np.nan, np.nan, 1.0]]))
    array([ 2.,  3., nan])
    """
    known = replicates[np.isfinite(replicates[:, 0])]
    usable = np.isfinite(known).all(axis=0) & (len(known) > 0)
    return np.where(usable, np.where(np.isfinite(known), known, 0.0).sum(axis=0) / max(len(known), 1), np.nan)


def finite_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the leading axis of what is finite; NaN where nothing is, without a warning."""
    finite = np.isfinite(values)
    counts = finite.sum(axis=0)
    sums = np.where(finite, values, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
