"""Spatial frequencies of feature maps, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.results.result import Result

Y_TITLES = {
    "spectrum.share": "share of the power, per cycle per position",
    "spectrum.power": "power, per cycle per position",
}


@dataclass(frozen=True)
class LayerSpectrum:
    """One layer, its name: a density at each frequency, with its interval (NaN where none was issued)."""

    name: str
    frequency: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Spectra(ChartPlot):
    """Power against spatial frequency, a line a layer.

    Values are divided by the width of an annulus, so that layers of different resolution can be compared.
    The constant part is left out.

    Args:
        measure: "spectrum.share" or "spectrum.power".
        model: the model's name.
        series: one per layer, in the order in which they run.
    """

    title = "Spatial frequencies"
    reading = (
        "A line is a layer: how much of its feature maps' variation has a given spatial frequency, in cycles "
        "per position of the map; 0.5 changes from one position to the next. Lines that fall steeply are "
        "smooth maps. After a pool, positions are further apart. Bands are 95 % intervals over samples."
    )
    order = 62

    measure: str
    model: str
    series: tuple[LayerSpectrum, ...]

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        layers: Sequence[str] | None = None,
        most: int = 6,
        stratum: str = "all",
    ) -> Spectra:
        """The spectra of some layers.

        Args:
            result: one result that holds the measure `spectrum`.
            measure: "spectrum.share" (default) or "spectrum.power".
            layers: which; None takes at most `most`, evenly from the first to the last.
            most: see `layers`.
            stratum: "all", or a class.
        Raises:
            ValueError: no spectra, or none of that measure, layer and stratum.
        """
        measure = names.choose("spectrum", measure, _measures(result))
        rows = names.where(result.curves, measure=measure, stratum=stratum)
        rows["layer"] = [names.layer_label(*pair) for pair in zip(rows["layer"], rows["call"], strict=True)]
        known = list(dict.fromkeys(rows["layer"]))
        if not known:
            raise ValueError(f"no {measure!r} for stratum {stratum!r}")
        if layers is None:
            places = np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))
            chosen = [known[place] for place in places]
        else:
            chosen = [names.choose("layer", layer, known) for layer in layers]
        series = tuple(_series(layer, rows.loc[rows["layer"] == layer]) for layer in chosen)
        return cls(measure, result.name, series)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Shares, then raw power, of every result that has spectra."""
        named = list(zip(names.model_names(results), results, strict=True))
        return [
            View(
                f"{names.curve_title(measure)} · {name}" if len(named) > 1 else names.curve_title(measure),
                cls.prepare(result, measure=measure),
            )
            for measure in Y_TITLES
            for name, result in named
            if measure in _measures(result)
        ]

    def draw(self, *, theme: str = "light") -> Figure:
        """Lines with bands, the values on a logarithmic scale."""
        from invariscope.plots.shared import static

        figure, axes, colours = static.new_figure(7.2, 4.2, theme)
        ax = axes[0, 0]
        for i, series in enumerate(self.series):
            colour = colours.series[i % len(colours.series)]
            shown = np.isfinite(series.low) & (series.low > 0)
            ax.fill_between(
                series.frequency, series.low, series.high, where=shown, color=colour, alpha=0.16, linewidth=0
            )
            ax.plot(
                series.frequency, series.value, color=colour, linewidth=1.7, label=series.name,
                linestyle=LINE_STYLES[DASHES[i % 4]], marker="o", markersize=3,
            )  # fmt: skip
        if _positive(self.series):
            ax.set_yscale("log")
        static.horizontal_grid(ax, colours)
        static.axis_titles(ax, names.parameter_title(names.FREQUENCY), Y_TITLES[self.measure], colours)
        static.legend(ax, colours)
        return figure

    def chart(self) -> UIElement:
        """The same, interactive: layer, frequency, value and interval under the pointer."""
        from invariscope.plots.shared import interactive as live

        scale = "log" if _positive(self.series) else "linear"
        chart = live.new_chart(height=340, y_axis_type=scale)
        sources = [_chart_series(chart, series, i) for i, series in enumerate(self.series)]
        live.axis_title(chart.xaxis[0], names.parameter_title(names.FREQUENCY))
        live.axis_title(chart.yaxis[0], Y_TITLES[self.measure])
        shown = {"layer": "@layer", "cycles/position": "@frequency", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown)
        return chart


def _measures(result: Result) -> list[str]:
    present = set(result.curves["measure"])
    return [measure for measure in Y_TITLES if measure in present]


def _series(layer: str, rows: pd.DataFrame) -> LayerSpectrum:
    rows = rows.loc[rows["x"] > 0].sort_values("x")
    frequency = rows["x"].to_numpy(float)
    # An annulus is one cycle across the map wide, which is the lowest frequency there is.
    width = frequency[0] if len(frequency) else 1.0
    value, low, high = (rows[name].to_numpy(float) / width for name in ("value", "ci_low", "ci_high"))
    kept = np.isfinite(value) & (value > 0) if (value > 0).any() else np.ones(len(value), bool)
    return LayerSpectrum(layer, *(part[kept] for part in (frequency, value, low, high)))


def _positive(series: Sequence[LayerSpectrum]) -> bool:
    return any(len(s.value) for s in series) and all((s.value > 0).all() for s in series)


def _chart_series(chart: Any, series: LayerSpectrum, i: int) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    bounds = list(zip(series.low, series.high, strict=True))
    source = ColumnDataSource({
        "x": series.frequency, "y": series.value, "layer": [series.name] * len(series.value),
        "low": np.where(series.low > 0, series.low, series.value), "high": series.high,
        "frequency": [names.number(f) for f in series.frequency],
        "text": [names.number(v) for v in series.value],
        "interval": [names.interval(*pair) for pair in bounds],
    })  # fmt: skip
    role = f"series:{i}"
    if np.isfinite(series.low).any():
        band = chart.varea("x", "low", "high", source=source, fill_alpha=0.16)
        live.themed(band.glyph, fill_color=role)
    line = chart.line("x", "y", source=source, line_width=2, line_dash=DASHES[i % 4])
    live.themed(line.glyph, line_color=role)
    dots = chart.scatter("x", "y", source=source, size=6)
    live.themed(dots.glyph, fill_color=role, line_color="surface")
    return source
