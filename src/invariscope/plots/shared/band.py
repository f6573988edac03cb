"""The band of random weights: layer values of the same architecture without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared.labels import where

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

NAME = "random weights"
_ALPHA = 0.22


@dataclass(frozen=True)
class Band:
    """The middle 95 % and the mean of the values of random networks, an entry per layer; NaN if missing."""

    low: np.ndarray
    mean: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> bool:
        """Whether any layer has a band."""
        return bool(np.isfinite(self.low).any())

    def of(self, chosen: Sequence[bool] | np.ndarray) -> Band:
        """Return the band restricted to the chosen layers."""
        return Band(*(part[np.asarray(chosen, bool)] for part in (self.low, self.mean, self.high)))

    def same(self, other: Band) -> bool:
        """Return whether both bands are equal, as for two training runs of one architecture with one seed."""
        pairs = ((self.low, other.low), (self.mean, other.mean), (self.high, other.high))
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def random_rows(result: Result) -> dict[tuple[str, str, int, str], Mapping[str, float]]:
    """Return the rows of `result.baseline` by (measure, layer, call, stratum)."""
    rows = result.baseline.to_dict("records")
    return {
        (str(row["measure"]), str(row["layer"]), int(row["call"]), str(row["stratum"])): row  # type: ignore[misc]
        for row in rows
    }


def band_of(result: Result, measure: str, stratum: str) -> Band:
    """Return the band for the rows of one measure and stratum, in the order of the table."""
    found, absent = random_rows(result), {"low": np.nan, "mean": np.nan, "high": np.nan}
    rows = where(result.table, measure=measure, stratum=stratum)
    keys = [
        (measure, layer, int(call), stratum) for layer, call in zip(rows["layer"], rows["call"], strict=True)
    ]
    entries = [found.get(key, absent) for key in keys]
    low, mean, high = (np.array([row[name] for row in entries], float) for name in ("low", "mean", "high"))
    return Band(low, mean, high)


def distinct(bands: Sequence[Band]) -> list[tuple[Band, int | None]]:
    """Return the bands to draw, each with the index of its series, or with None if all series share it."""
    known = [(band, i) for i, band in enumerate(bands) if band.known]
    if known and all(band.same(known[0][0]) for band, _ in known):
        return [(known[0][0], None)]
    return list(known)


def half_width(x: np.ndarray) -> float:
    """Return half of the distance between neighbouring layers, so that the band's steps touch."""
    return float(x[1] - x[0]) / 2 if len(x) > 1 else 0.5


def draw_bands(ax: Axes, places: Sequence[np.ndarray], bands: Sequence[Band], canvas: Canvas) -> None:
    """Draw a shaded step per layer, with a thin line at the mean and a single legend entry."""
    for i, (band, series) in enumerate(distinct(bands)):
        _draw_band(ax, places[series or 0], band, series, canvas, label=None if i else NAME)


def _draw_band(
    ax: Axes, x: np.ndarray, band: Band, series: int | None, canvas: Canvas, *, label: str | None
) -> None:
    colour = canvas.colours.muted if series is None else canvas.colour(series)
    half = half_width(x)
    ax.bar(
        x, band.high - band.low, 2 * half, bottom=band.low, color=colour, alpha=_ALPHA, linewidth=0,
        label=label, zorder=0.5,
    )  # fmt: skip
    ax.hlines(band.mean, x - half, x + half, color=colour, linewidth=0.8, alpha=0.5)


def chart_bands(chart: Any, places: Sequence[np.ndarray], bands: Sequence[Band]) -> None:
    """Draw the bands in a Bokeh chart."""
    for band, series in distinct(bands):
        _chart_band(chart, places[series or 0], band, series)


def _chart_band(chart: Any, x: np.ndarray, band: Band, series: int | None) -> None:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    half, role = half_width(x), "muted" if series is None else f"series:{series}"
    source = ColumnDataSource({
        "left": x - half, "right": x + half, "low": band.low, "mean": band.mean, "high": band.high,
    })  # fmt: skip
    box = chart.quad(
        left="left",
        right="right",
        bottom="low",
        top="high",
        source=source,
        fill_alpha=_ALPHA,
        line_color=None,
    )
    line = chart.segment("left", "mean", "right", "mean", source=source, line_width=1, line_alpha=0.5)
    live.themed(box.glyph, fill_color=role)
    live.themed(line.glyph, line_color=role)
