"""A value per element of the transform: accuracy against angle, and the like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.scales import far_apart
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.results.result import Result

HEADLINE = "prediction.accuracy"
OUTPUT = "output"


@dataclass(frozen=True)
class CurveSeries:
    """One model: an entry per element, sorted by x; bounds are NaN where no interval was issued.

    `spans` are the intervals as texts.
    """

    name: str
    x: np.ndarray
    labels: tuple[str, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    spans: tuple[str, ...]


@dataclass(frozen=True)
class ElementCurve(ChartPlot):
    """A value against the transform's parameter, or against the element's number.

    Args:
        measure: what is shown.
        parameter: name of the parameter on the x axis, "element" where there is no single one.
        layer: where the curve is read ("output" for predictions).
        series: one per model.
        logarithmic: whether the y axis is; what is not positive is then not shown.
    """

    title = "Element by element"
    reading = (
        "A value for each element of the transformation, at the layer that is named, else of the network's "
        "answers. The shaded band is the 95 % interval over samples. The accuracy of a network that is "
        "invariant in its output is a flat line; how to read other measures stands with their names below."
    )
    order = 60

    measure: str
    parameter: str
    layer: str
    series: tuple[CurveSeries, ...]
    logarithmic: bool = False

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        measure: str | None = None,
        layer: str | None = None,
        stratum: str = "all",
        logarithmic: bool | None = None,
    ) -> ElementCurve:
        """One curve per result that holds it.

        Args:
            results: one or several.
            measure: a measure of `result.curves`; None takes the accuracy or what comes first.
            layer: None takes the last layer that has this curve.
            stratum: "all", a class, or "mean".
            logarithmic: the y axis; None: where no value is negative and the models' medians are positive and
                lie further apart than a factor of 100.
        Raises:
            ValueError: no curves, or none of that measure, layer and stratum.
        """
        several = names.as_results(results)
        measure = names.choose("curve", measure, _curve_measures(several))
        curves = [_rows(result.curves, measure, stratum) for result in several]
        layer = names.choose("layer", layer, _layers(curves))
        shown = [
            (name, rows.loc[rows["layer"] == layer])
            for name, rows in zip(names.model_names(several), curves, strict=True)
        ]
        shown = [(name, rows) for name, rows in shown if len(rows)]
        parameter = _parameter([rows for _, rows in shown])
        series = tuple(_series(name, rows, parameter) for name, rows in shown)
        logarithmic = _far_apart(series) if logarithmic is None else logarithmic
        return cls(measure, parameter, layer, series, logarithmic)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Every measure that has curves, accuracy first."""
        plots = (cls.prepare(results, measure=measure) for measure in _curve_measures(results))
        return [View(plot.value_title + _one_of(plot, results), plot) for plot in plots]

    @property
    def value_title(self) -> str:
        """What is shown, and of which layer where it is not the output."""
        title = names.curve_title(self.measure)
        return title if self.layer == OUTPUT else f"{title}, at layer {self.layer}"

    @property
    def span(self) -> tuple[float, float]:
        """The y axis: 0 to 1 for shares, else what the values need."""
        known = np.concatenate([np.r_[s.value, s.low, s.high] for s in self.series])
        known = known[np.isfinite(known)]
        if not len(known):
            return 0.0, 1.0
        low, high = min(0.0, float(known.min())), float(known.max())
        return (low, 1.02) if 0.05 < high <= 1 else (low, 1.08 * high or 1.0)

    @property
    def angle_ticks(self) -> list[float]:
        """Multiples of 45 or 90 degrees for wide ranges of angles; empty elsewhere."""
        x = np.concatenate([s.x for s in self.series])
        if not self.parameter.endswith("_deg") or np.ptp(x) < 135:
            return []
        step = 45 if np.ptp(x) <= 360 else 90
        return [float(a) for a in np.arange(np.ceil(x.min() / step) * step, x.max() + 1e-9, step)]

    def draw(self, *, theme: str = "light") -> Figure:
        """Lines with bands."""
        from invariscope.plots.shared import static

        figure, axes, colours = static.new_figure(7.2, 4.0, theme)
        ax = axes[0, 0]
        for i, series in enumerate(self.series):
            colour = colours.series[i % len(colours.series)]
            value, low = self._positive(series)
            ax.fill_between(series.x, low, series.high, color=colour, alpha=0.16, linewidth=0)
            style = {"linestyle": LINE_STYLES[DASHES[i % 4]], "marker": "o", "markersize": 4}
            ax.plot(series.x, value, color=colour, label=series.name, linewidth=1.8, **style)
        if self.logarithmic:
            ax.set_yscale("log")
            static.plain_log_ticks(ax)
        else:
            ax.set_ylim(*self.span)
        static.horizontal_grid(ax, colours)
        static.axis_titles(ax, self._x_title, self.value_title, colours)
        if self.parameter == "element":
            static.name_ticks(ax, self.series[0].labels)
        elif len(self.angle_ticks):
            ax.set_xticks(self.angle_ticks)
        if len(self.series) > 1:
            static.legend(ax, colours)
        return figure

    def chart(self) -> UIElement:
        """The same, interactive: element, value and interval under the pointer."""
        from invariscope.plots.shared import interactive as live

        chart = live.new_chart(height=320, y_axis_type="log" if self.logarithmic else "linear")
        if not self.logarithmic:
            chart.y_range = live.fixed(*self.span)
        sources = [
            _chart_series(chart, series, *self._positive(series), i) for i, series in enumerate(self.series)
        ]
        if self.parameter == "element":
            live.name_columns(chart, self.series[0].labels)
        elif len(self.angle_ticks):
            chart.xaxis[0].ticker = self.angle_ticks
        live.axis_title(chart.xaxis[0], self._x_title)
        live.axis_title(chart.yaxis[0], self.value_title)
        shown = {"model": "@model", "element": "@label", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown)
        return chart

    def _positive(self, series: CurveSeries) -> tuple[np.ndarray, np.ndarray]:
        """Values and lower bounds as the axis can show them: a bound that is not positive is the value."""
        if not self.logarithmic:
            return series.value, series.low
        value = np.where(series.value > 0, series.value, np.nan)
        return value, np.where(series.low <= 0, value, series.low)

    @property
    def _x_title(self) -> str:
        return names.parameter_title(self.parameter)


def _curve_measures(results: Sequence[Result]) -> list[str]:
    tables = [result.curves for result in results]
    # Spectra and stability curves have axes of their own, not the elements, and plots of their own.
    own = (names.FREQUENCY, names.RADIUS)
    along = [table.loc[~table["parameter"].isin(own)] for table in tables]
    found = list(dict.fromkeys(name for table in along for name in table["measure"]))
    return sorted(found, key=lambda name: name != HEADLINE)


def _one_of(plot: ElementCurve, results: Sequence[Result]) -> str:
    """How many layers have such a curve, where only the last one is shown."""
    count = len(_layers([_rows(result.curves, plot.measure, "all") for result in results]))
    return f", the last of {count}" if count > 1 else ""


def _rows(curves: pd.DataFrame, measure: str, stratum: str) -> pd.DataFrame:
    rows = names.where(curves, measure=measure, stratum=stratum)
    rows["layer"] = [names.layer_label(*pair) for pair in zip(rows["layer"], rows["call"], strict=True)]
    # A grid has a row per element and parameter: the first parameter stands for the element.
    return rows.drop_duplicates(["layer", "element"])


def _layers(curves: Sequence[pd.DataFrame]) -> list[str]:
    """Layers with the curve, the last one to run first."""
    return list(dict.fromkeys(layer for rows in curves for layer in reversed(list(rows["layer"]))))


def _parameter(curves: Sequence[pd.DataFrame]) -> str:
    """The parameter all curves share, if it tells their elements apart."""
    found = {str(name) for rows in curves for name in rows["parameter"]}
    distinct = all(rows["x"].notna().all() and rows["x"].is_unique for rows in curves)
    return found.pop() if len(found) == 1 and distinct else "element"


def _series(name: str, rows: pd.DataFrame, parameter: str) -> CurveSeries:
    place = "element" if parameter == "element" else "x"
    rows = rows.sort_values(place)
    x = np.arange(len(rows)) if parameter == "element" else rows["x"]
    return CurveSeries(
        name=name,
        x=np.asarray(x, dtype=float),
        labels=tuple(map(str, rows["label"])),
        value=rows["value"].to_numpy(float),
        low=rows["ci_low"].to_numpy(float),
        high=rows["ci_high"].to_numpy(float),
        spans=tuple(map(names.row_interval, rows.to_dict("records"))),
    )


def _far_apart(series: Sequence[CurveSeries]) -> bool:
    """Whether the models' values are of such different sizes that only logarithms show them all."""
    known = [values for s in series if len(values := s.value[np.isfinite(s.value)])]
    middles = np.array([np.median(values) for values in known])
    if not known or middles.min() <= 0 or min(values.min() for values in known) < 0:
        return False
    return far_apart(middles)


def _chart_series(chart: Any, series: CurveSeries, value: np.ndarray, low: np.ndarray, i: int) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    source = ColumnDataSource({
        "x": series.x, "y": value, "low": low, "high": series.high,
        "label": list(series.labels), "model": [series.name] * len(series.x),
        "text": [names.number(v) for v in series.value],
        "interval": list(series.spans),
    })  # fmt: skip
    role = f"series:{i}"
    if np.isfinite(low).any():
        band = chart.varea("x", "low", "high", source=source, fill_alpha=0.16)
        live.themed(band.glyph, fill_color=role)
    line = chart.line("x", "y", source=source, line_width=2, line_dash=DASHES[i % 4])
    live.themed(line.glyph, line_color=role)
    dots = chart.scatter("x", "y", source=source, size=7)
    live.themed(dots.glyph, fill_color=role, line_color="surface")
    return source
