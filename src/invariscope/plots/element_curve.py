"""Values per element of the transform, such as accuracy against angle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.scales import far_apart

if TYPE_CHECKING:
    import pandas as pd
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

HEADLINE = "prediction.accuracy"
OUTPUT = "output"
# Parameters other than those of elements, with the plot of their curves.
_OTHER_AXES = {names.FREQUENCY: "spectra", names.RADIUS: "stability_curves"}
# How to read curves of predictions; the definitions of measures explain all others.
_READINGS = {
    "prediction.accuracy": "A flat curve: the transformation does not change the accuracy.",
    "prediction.flips": "Predictions are compared with those of the untransformed samples: 0 means that none "
    "changes.",
    "prediction.probability_true": "A flat curve: the transformation does not change the probability.",
    "consistency.by_element": "Predictions are compared with those of the untransformed samples: 1 means "
    "that none changes.",
}
NUMBERS = {"model": "model", "element": "label", "x": "x", "value": "y", "low": "low", "high": "high"}


@dataclass(frozen=True)
class CurveSeries:
    """The curve of one model, sorted by x.

    Bounds are NaN if there is no interval; `spans` are the intervals as text.
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
    """Curves of a value against the transform's parameter, or against the element's number.

    Args:
        measure: the measure shown.
        parameter: name of the parameter on the x axis; "element" if the curves have no common parameter.
        layer: the layer ("output" for predictions).
        series: one per model.
        logarithmic: whether the y axis is logarithmic; values that are not positive are then hidden.
    """

    title = "Element by element"
    reading = (
        "Each point is the value for one element of the transformation, at the named layer or, if none is "
        "named, at the network's output. The shaded band is the 95 % interval over samples."
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
        """Collect the curve of each result that has it.

        Args:
            results: one or several.
            measure: a measure of `result.curves`; None for accuracy if present, otherwise the first.
            layer: the layer; None for the last layer with this curve.
            stratum: "all", a class, or "mean".
            logarithmic: whether the y axis is logarithmic. By default, it is logarithmic if no value is
                negative and the models' medians are positive and differ by more than a factor of 100.
        Raises:
            ValueError: no curves, or none of that measure, layer and stratum.
        """
        several = names.as_results(results)
        _refuse_other_axes(several, measure)
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
        """Return a view per measure with curves, accuracy first."""
        plots = (cls.prepare(results, measure=measure) for measure in _curve_measures(results))
        return [
            View(plot.value_title + _one_of(plot, results), plot, reading=_READINGS.get(plot.measure, ""))
            for plot in plots
        ]

    @property
    def value_title(self) -> str:
        """Return the title of the y axis, with the layer unless it is the output."""
        title = names.curve_title(self.measure)
        return title if self.layer == OUTPUT else f"{title}, at layer {self.layer}"

    @property
    def span(self) -> tuple[float, float]:
        """Return the range of the y axis: about 0 to 1 for shares, otherwise the range of the values."""
        known = np.concatenate([np.r_[s.value, s.low, s.high] for s in self.series])
        known = known[np.isfinite(known)]
        if not len(known):
            return 0.0, 1.0
        low, high = min(0.0, float(known.min())), float(known.max())
        return (low, 1.02) if 0.05 < high <= 1 else (low, 1.08 * high or 1.0)

    @property
    def angle_ticks(self) -> list[float]:
        """Return multiples of 45 or 90 degrees for a wide range of angles, otherwise an empty list."""
        x = np.concatenate([s.x for s in self.series])
        if not self.parameter.endswith("_deg") or np.ptp(x) < 135:
            return []
        step = 45 if np.ptp(x) <= 360 else 90
        return [float(a) for a in np.arange(np.ceil(x.min() / step) * step, x.max() + 1e-9, step)]

    def paint(self, canvas: Canvas) -> None:
        """Draw lines with bands."""
        ax = canvas.panel(7.2, 4.0)
        for i, series in enumerate(self.series):
            value, low = self._positive(series)
            canvas.draw_curve(ax, i, series.name, series.x, (value, low, series.high), size=4)
        if self.logarithmic:
            ax.set_yscale("log")
            canvas.value_axis(ax)
            canvas.plain_log_ticks(ax)
        else:
            canvas.value_axis(ax, *self.span)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, self._x_title, self.value_title)
        if self.parameter == "element":
            canvas.name_ticks(ax, self.series[0].labels)
        elif len(self.angle_ticks):
            ax.set_xticks(self.angle_ticks)
        if len(self.series) > 1:
            canvas.legend(ax)

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows element, value and interval."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        chart = live.new_chart(height=320, y_axis_type="log" if self.logarithmic else "linear")
        if self.logarithmic:
            live.log_axis(chart.yaxis[0], np.concatenate([series.value for series in self.series]))
        else:
            chart.y_range = live.fixed(*self.span)
        sources = [
            _chart_series(chart, series, *self._positive(series), i) for i, series in enumerate(self.series)
        ]
        if self.parameter == "element":
            layer_axis.name_columns(chart, self.series[0].labels)
        elif len(self.angle_ticks):
            chart.xaxis[0].ticker = self.angle_ticks
        live.axis_title(chart.xaxis[0], self._x_title)
        live.axis_title(chart.yaxis[0], self.value_title)
        shown = {"model": "@model", "element": "@label", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown, NUMBERS)
        return chart

    def _positive(self, series: CurveSeries) -> tuple[np.ndarray, np.ndarray]:
        """Return values and lower bounds; the value replaces a bound that a logarithmic axis cannot show."""
        if not self.logarithmic:
            return series.value, series.low
        value = np.where(series.value > 0, series.value, np.nan)
        return value, np.where(series.low <= 0, value, series.low)

    @property
    def _x_title(self) -> str:
        return names.parameter_title(self.parameter)


def _refuse_other_axes(results: Sequence[Result], measure: str | None) -> None:
    """Name the plot of a curve that is not indexed by elements."""
    found = {str(row["parameter"]) for one in results for row in one.curve_rows if row["measure"] == measure}
    if len(found) == 1 and (parameter := found.pop()) in _OTHER_AXES:
        other = _OTHER_AXES[parameter]
        against = names.parameter_title(parameter)
        raise ValueError(
            f"{measure!r} is a curve against {against}, not against the elements of a transform: use the "
            f"plot {other!r}"
        )


def _curve_measures(results: Sequence[Result]) -> list[str]:
    tables = [result.curves for result in results]
    along = [table.loc[~table["parameter"].isin(list(_OTHER_AXES))] for table in tables]
    found = list(dict.fromkeys(name for table in along for name in table["measure"]))
    return sorted(found, key=lambda name: name != HEADLINE)


def _one_of(plot: ElementCurve, results: Sequence[Result]) -> str:
    """Return a suffix for the title that says how many layers have the curve; only the last one is shown."""
    count = len(_layers([_rows(result.curves, plot.measure, "all") for result in results]))
    return f", the last of {count}" if count > 1 else ""


def _rows(curves: pd.DataFrame, measure: str, stratum: str) -> pd.DataFrame:
    rows = names.where(curves, measure=measure, stratum=stratum)
    rows["layer"] = names.layer_labels(rows)
    # A grid has one row per element and parameter. Keep the first parameter of each element.
    return rows.drop_duplicates(["layer", "element"])


def _layers(curves: Sequence[pd.DataFrame]) -> list[str]:
    """Return the layers that have the curve, in reverse order of execution."""
    return list(dict.fromkeys(layer for rows in curves for layer in reversed(list(rows["layer"]))))


def _parameter(curves: Sequence[pd.DataFrame]) -> str:
    """Return the parameter common to all curves if its values distinguish their elements, else "element"."""
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
    """Return whether the models' values differ so much that only a logarithmic axis shows them all."""
    known = [values for s in series if len(values := s.value[np.isfinite(s.value)])]
    middles = np.array([np.median(values) for values in known])
    if not known or middles.min() <= 0 or min(values.min() for values in known) < 0:
        return False
    return far_apart(middles)


def _chart_series(chart: Any, series: CurveSeries, value: np.ndarray, low: np.ndarray, i: int) -> Any:
    from invariscope.plots.shared import interactive as live

    columns = {
        "x": series.x, "y": value, "low": low, "high": series.high,
        "label": list(series.labels), "model": [series.name] * len(series.x),
        "text": list(map(names.number, series.value)), "interval": list(series.spans),
    }  # fmt: skip
    return live.curve(chart, columns, i, size=7)
