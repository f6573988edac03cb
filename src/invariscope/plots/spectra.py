"""Spatial frequencies of feature maps, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.depth import shown_layers

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

Y_TITLES = {
    "spectrum.share": "share of the power, per cycle per position",
    "spectrum.power": "power, per cycle per position",
}

NUMBERS = {"layer": "layer", "frequency": "x", "value": "y", "low": "low", "high": "high"}


@dataclass(frozen=True)
class LayerSpectrum:
    """Power density of one layer at each frequency, with intervals (NaN if missing)."""

    name: str
    frequency: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Spectra(ChartPlot):
    """Plot of power against spatial frequency, a line per layer.

    The power in each annulus of frequencies is divided by the annulus's width, so that layers of different
    resolution can be compared. The constant part is left out.

    Args:
        measure: "spectrum.share" or "spectrum.power".
        model: the model's name.
        series: one per layer, in the order in which they run.
    """

    title = "Spatial frequencies"
    reading = (
        "Each line shows how much of the variation of a layer's feature maps has a given spatial frequency. "
        "Frequencies are in cycles per position of the map; 0.5 alternates from one position to the next. "
        "Steeply falling lines mean smooth maps. After pooling, positions are further apart. Bands are 95 % "
        "intervals over samples."
    )
    order = 62
    single = True

    measure: str
    model: str
    series: tuple[LayerSpectrum, ...]

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        layers: Sequence[str] | str | None = None,
        most: int = 6,
        stratum: str = "all",
    ) -> Spectra:
        """Collect the spectra of some layers.

        Args:
            result: a result with the measure `spectrum`; several are drawn beside each other.
            measure: "spectrum.share" (default) or "spectrum.power".
            layers: patterns; None or "auto" for at most `most` layers, evenly spaced.
            most: maximum number of layers if `layers` is None.
            stratum: "all", or a class.
        Raises:
            ValueError: no spectra, or none of that measure, layer and stratum.
        """
        measure = names.choose("spectrum", measure, _measures(result))
        rows = names.where(result.curves, measure=measure, stratum=stratum)
        rows["layer"] = names.layer_labels(rows)
        known = list(dict.fromkeys(rows["layer"]))
        if not known:
            raise ValueError(f"no {measure!r} for stratum {stratum!r}; result.curves lists the strata")
        if layers is None or layers == "auto":
            chosen = names.evenly(known, most)
        else:
            chosen = np.array(known)[shown_layers(known, layers)].tolist()
        series = tuple(_series(layer, rows.loc[rows["layer"] == layer]) for layer in chosen)
        return cls(measure, result.name, series)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return views of shares, then of power, per result with spectra."""
        named = list(zip(names.model_names(results), results, strict=True))
        return [
            View(
                names.of_model(names.curve_title(measure), name, len(named)),
                cls.prepare(result, measure=measure),
            )
            for measure in Y_TITLES
            for name, result in named
            if measure in _measures(result)
        ]

    def paint(self, canvas: Canvas) -> None:
        """Draw lines with bands, on a logarithmic scale."""
        ax = canvas.panel(7.2, 4.2)
        for i, series in enumerate(self.series):
            low = np.where(series.low > 0, series.low, np.nan)
            bounds = series.value, low, series.high
            colour = canvas.ordered(i, len(self.series))
            canvas.draw_curve(ax, i, series.name, series.frequency, bounds, colour=colour)
        if _positive(self.series):
            ax.set_yscale("log")
        canvas.value_axis(ax)
        canvas.plain_log_ticks(ax)
        canvas.horizontal_grid(ax)
        canvas.heading(ax, self.model)
        canvas.axis_titles(ax, names.parameter_title(names.FREQUENCY), Y_TITLES[self.measure])
        canvas.legend(ax)

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, frequency, value and interval."""
        from invariscope.plots.shared import interactive as live

        scale = "log" if _positive(self.series) else "linear"
        chart = live.new_chart(height=340, y_axis_type=scale)
        sources = [_chart_series(chart, series, i) for i, series in enumerate(self.series)]
        if scale == "log":
            live.log_axis(chart.yaxis[0], np.concatenate([series.value for series in self.series]))
        live.axis_title(chart.xaxis[0], names.parameter_title(names.FREQUENCY))
        live.axis_title(chart.yaxis[0], Y_TITLES[self.measure])
        shown = {"layer": "@layer", "cycles/position": "@frequency", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown, NUMBERS)
        return chart


def _measures(result: Result) -> list[str]:
    present = set(result.curves["measure"])
    return [measure for measure in Y_TITLES if measure in present]


def _series(layer: str, rows: pd.DataFrame) -> LayerSpectrum:
    rows = rows.loc[rows["x"] > 0].sort_values("x")
    frequency = rows["x"].to_numpy(float)
    # The width of an annulus is one cycle across the map, the lowest frequency.
    width = frequency[0] if len(frequency) else 1.0
    value, low, high = (rows[name].to_numpy(float) / width for name in ("value", "ci_low", "ci_high"))
    kept = np.isfinite(value) & (value > 0) if (value > 0).any() else np.ones(len(value), bool)
    return LayerSpectrum(layer, *(part[kept] for part in (frequency, value, low, high)))


def _positive(series: Sequence[LayerSpectrum]) -> bool:
    return any(len(s.value) for s in series) and all((s.value > 0).all() for s in series)


def _chart_series(chart: Any, series: LayerSpectrum, i: int) -> Any:
    from invariscope.plots.shared import interactive as live

    columns = {
        "x": series.frequency, "y": series.value, "layer": [series.name] * len(series.value),
        "low": np.where(series.low > 0, series.low, series.value), "high": series.high,
        "frequency": list(map(names.number, series.frequency)), "text": list(map(names.number, series.value)),
        "interval": names.intervals(series.low, series.high),
    }  # fmt: skip
    return live.curve(chart, columns, i)
