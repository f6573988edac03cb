"""Cells of a layer, one per feature map or unit, and a colour scale for many cells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.labels import layer_label

if TYPE_CHECKING:
    from invariscope.results.result import Result

CELL_LIMIT = 2048


@dataclass(frozen=True)
class Cells:
    """Values of the feature maps or units of one layer, one per cell of a figure.

    Args:
        label: the layer.
        kind: "feature map" or "unit".
        values: one value per cell; NaN means dead.
        index: index of the first feature map or unit in each cell.
        step: number of neighbours averaged in a cell.
    """

    label: str
    kind: str
    values: np.ndarray
    index: np.ndarray
    step: int = 1

    @property
    def lead(self) -> str:
        """Text before a cell's index, such as "unit" or "16 units from"."""
        return self.kind if self.step == 1 else f"{self.step} {self.kind}s from"

    @property
    def caption(self) -> str:
        """Description of the cells, such as "units of output"."""
        return f"{self.kind}s of {self.label}" + (f", means of {self.step}" if self.step > 1 else "")

    @property
    def dead(self) -> int:
        """Number of cells without a value."""
        return int(np.isnan(self.values).sum())


def cells(label: str, array: np.ndarray, *, limit: int = CELL_LIMIT) -> Cells:
    """Return a cell per index of the map's first axis: the mean over the live units along the other axes.

    A map of shape (C, H, W) has C feature maps, one of shape (F,) has F units, and a single number is
    one unit. If there are more than `limit` cells, equal runs of neighbours are averaged.

    >>> cells("conv", np.array([[[1.0, 3.0]], [[np.nan, np.nan]]])).values
    array([ 2., nan])
    """
    array = np.asarray(array, dtype=np.float64)
    array = np.where(np.isfinite(array), array, np.nan)
    kind = "feature map" if array.ndim > 1 else "unit"
    values = live_mean(array.reshape(len(array) if array.ndim else 1, -1))
    step = math.ceil(len(values) / limit) if limit else 1
    if step > 1:
        padding = np.full(-len(values) % step, np.nan)
        values = live_mean(np.concatenate([values, padding]).reshape(-1, step))
    return Cells(label, kind, values, np.arange(len(values)) * step, step)


def live_mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, ignoring NaN; NaN if all are NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(rows, axis=-1) if rows.shape[-1] else np.full(rows.shape[:-1], np.nan)


def shown_maps(
    result: Result, measure: str, stratum: str, layers: Sequence[str] | str | None
) -> dict[str, np.ndarray]:
    """Return the maps of the layers to show, by layer label; for the arguments see `shown_layers`.

    Raises:
        ValueError: no maps of that measure and stratum.
    """
    maps = {label: array for label, array in layer_maps(result, measure, stratum).items() if array.size}
    if not maps:
        raise ValueError(f"no maps of {measure!r} for stratum {stratum!r}; list(result.maps) shows all")
    kept = shown_layers(list(maps), layers)
    return {label: array for (label, array), shown in zip(maps.items(), kept, strict=True) if shown}


def layer_maps(result: Result, measure: str, stratum: str = "all") -> dict[str, np.ndarray]:
    """Return the maps of one measure and stratum by layer label, in the order in which layers run."""
    found = {(layer, call) for name, layer, where, call in result.maps if (name, where) == (measure, stratum)}
    run_order = dict.fromkeys((row.layer, int(row.call)) for row in result.rows)
    ordered = [key for key in run_order if key in found] + sorted(found - run_order.keys())
    return {layer_label(layer, call): result.maps[measure, layer, stratum, call] for layer, call in ordered}


def shared_range(arrays: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return a colour scale from 0 (or the minimum, if negative) to the 98th percentile, rounded up.

    The upper end is at most four times the upper quartile. Otherwise a few units with huge ratios would
    give all others the same colour.

    >>> shared_range([np.array([0.2, np.nan]), np.array([0.93])])
    (0.0, 0.95)
    """
    finite = np.concatenate([np.asarray(array, float).ravel() for array in arrays] or [np.zeros(0)])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, (usual, high) = min(0.0, float(finite.min())), map(float, np.quantile(finite, (0.75, 0.98)))
    high = min(high, 4 * usual) if usual > 0 else high
    return low, _round_up(high) if high > low else low + 1.0


def _round_up(value: float) -> float:
    if value <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - 1) * 5
    return float(f"{math.ceil(value / step - 1e-9) * step:.6g}")
