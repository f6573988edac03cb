"""Plot of the growth or decay of a value with depth, with a fitted law."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

DEEP = 24  # with more layers, dots are small
LAWS, FAMILY = ("exponential", "power"), "stability."


@dataclass(frozen=True)
class DepthSeries:
    """One model: layer numbers from 1, positive values with intervals, and the fitted law.

    Args:
        name: name of the model.
        number, value, low, high: one entry per layer; bounds are NaN if there is no interval.
        slope, offset: coefficients of the least-squares line of log2(value) against the layer number, or of
            log(value) against its logarithm; NaN for fewer than two layers.
        fitted: numbers of the layers used in the fit.
    """

    name: str
    number: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: float
    offset: float
    fitted: np.ndarray


@dataclass(frozen=True)
class DepthLaws(ChartPlot):
    """A positive value against the layer number, with a line fitted to its logarithm.

    Args:
        measure: measure shown.
        law: "exponential" (doublings per layer) or "power" (a power of the layer number).
        series: one per model.
    """

    title = "Law of depth"
    reading = (
        "Each dot is a layer, counted from the first; the bar is the 95 % interval over samples. The thin "
        "line is the fitted law: a power of the layer's number, or a constant factor from each layer to the "
        "next. The legend gives the exponent, or log2 of the factor."
    )
    order = 66

    measure: str
    law: str
    series: tuple[DepthSeries, ...]

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        measure: str | None = None,
        law: str = "exponential",
        layers: Sequence[str] | str | None = None,
        first: int = 1,
    ) -> DepthLaws:
        """Collect the layer values of each result, and fit the law to them.

        Args:
            results: one result or several.
            measure: a measure of the table; None: normalized variance if present, else the first.
            law: "exponential" or "power".
            layers: names or globs of the layers to number and show; None: all layers; "auto": all or, of more
                than 40, the outputs of blocks.
            first: number of the first layer used in the fit, counting from 1.
        Raises:
            ValueError: unknown measure or law, or no layer with a positive value.
        """
        several = names.as_results(results)
        law = names.choose("law", law, LAWS)
        measure = names.choose("measure", measure, names.table_measures(several))
        found = [
            _series(name, names.rows_of(result, measure), law, layers, first)
            for name, result in zip(names.model_names(several), several, strict=True)
        ]
        series = tuple(one for one in found if len(one.value))
        if not series:
            which = "no layer" if layers is None else f"no layer that matches {layers!r}"
            raise ValueError(f"{which} has a positive {measure!r}")
        return cls(measure, law, series)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return views of D and G, for which theory predicts laws."""
        own = [measure for measure in names.layered_measures(results) if measure.startswith(FAMILY)]
        return [
            View(names.measure_title(measure), cls.prepare(results, measure=measure))
            for measure in own
            if measure.rpartition(".")[2] in ("D", "G")
        ]

    def paint(self, canvas: Canvas) -> None:
        """Draw dots with intervals on a logarithmic axis, and the laws as thin lines."""
        ax = canvas.panel(7.2, 4.2)
        for i, series in enumerate(self.series):
            self._draw_series(ax, series, i, canvas)
        ax.set_yscale("log")
        if self.law == "power":
            ax.set_xscale("log")
        canvas.value_axis(ax)
        canvas.plain_log_ticks(ax)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, "layer number k", names.measure_title(self.measure))
        canvas.legend(ax)

    def chart(self) -> UIElement:
        """Draw an interactive chart that shows layer, value and interval on hover."""
        from invariscope.plots.shared import interactive as live

        scale = "log" if self.law == "power" else "linear"
        chart = live.new_chart(height=340, x_axis_type=scale, y_axis_type="log")
        live.axis_title(chart.xaxis[0], "layer")
        live.axis_title(chart.yaxis[0], names.measure_title(self.measure))
        sources = [_chart_series(chart, series, i, self.law) for i, series in enumerate(self.series)]
        shown = {"model": "@model", "layer": "@x", "value": "@text", "95 %": "@interval", "law": "@law"}
        for source in sources:
            live.hover_points(chart, source, shown)
        return chart

    def _draw_series(self, ax: Axes, series: DepthSeries, i: int, canvas: Canvas) -> None:
        colour, scale, deep = canvas.colour(i), canvas.colours.scale, len(series.number) > DEEP
        low = np.where(series.low > 0, series.low, series.value)
        alpha = 0.3 if deep else 0.6
        ax.vlines(series.number, low, series.high, color=colour, linewidth=1.2 * scale, alpha=alpha)
        ax.plot(
            series.number, series.value, **canvas.series_style(i), linestyle="none",
            markersize=(2.0 if deep else 4.5) * scale,
            label=f"{series.name}: {law_text(series, self.law)}",
        )  # fmt: skip
        ax.plot(
            series.fitted, law_values(series, self.law), color=colour, linewidth=1.2,
            linestyle=LINE_STYLES["dashed"],
        )  # fmt: skip


def law_values(series: DepthSeries, law: str) -> np.ndarray:
    """Return the values of the fitted law at the layers used in the fit."""
    if law == "power":
        return np.exp(series.offset + series.slope * np.log(series.fitted))
    return 2.0 ** (series.offset + series.slope * series.fitted)


def law_text(series: DepthSeries, law: str) -> str:
    """Return the law as a short formula: a power of the layer number k, or of two."""
    slope = names.number(series.slope, digits=2)
    return f"k^{slope}" if law == "power" else f"2^({slope} k)"


def _series(name: str, rows: Any, law: str, layers: Sequence[str] | str | None, first: int) -> DepthSeries:
    rows = rows.loc[_shown(list(rows["label"]), layers)]
    number = np.arange(1, len(rows) + 1)
    value, low, high = (rows[column].to_numpy(float) for column in ("value", "ci_low", "ci_high"))
    known = np.isfinite(value) & (value > 0)
    number, value, low, high = (part[known] for part in (number, value, low, high))
    used = number >= first
    slope, offset = np.nan, np.nan
    if used.sum() > 1:
        x, y = (np.log, np.log) if law == "power" else (np.asarray, np.log2)
        slope, offset = np.polyfit(x(number[used]), y(value[used]), 1)
    return DepthSeries(name, number, value, low, high, float(slope), float(offset), number[used])


def _shown(labels: list[str], layers: Sequence[str] | str | None) -> list[bool]:
    if layers == "auto":
        return shown_layers(labels).tolist()
    patterns = [layers] if isinstance(layers, str) else layers
    return [matches_any(patterns, label) for label in labels]


def _chart_series(chart: Any, series: DepthSeries, i: int, law: str) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    count = len(series.value)
    bounds = list(zip(series.low, series.high, strict=True))
    source = ColumnDataSource({
        "x": series.number, "y": series.value, "model": [series.name] * count,
        "low": np.where(series.low > 0, series.low, series.value), "high": series.high,
        "text": [names.number(v) for v in series.value],
        "interval": [names.interval(*pair) for pair in bounds],
        "law": [law_text(series, law)] * count,
    })  # fmt: skip
    role = f"series:{i}"
    bar = chart.segment("x", "low", "x", "high", source=source, line_width=2, line_alpha=0.6)
    line = chart.line(series.fitted, law_values(series, law), line_width=1.5, line_dash=DASHES[i % 4])
    dots = chart.scatter("x", "y", source=source, size=7)
    for renderer in (bar, line):
        live.themed(renderer.glyph, line_color=role)
    live.themed(dots.glyph, fill_color=role, line_color="surface")
    return source
