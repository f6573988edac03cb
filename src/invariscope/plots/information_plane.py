"""Information that each layer's units have about the class, against information about the transformation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.depth import shown_layers

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

DEEP = 12  # with more layers, dots are small
# (outputs, axis titles): about the transformation on x, about the class on y.
FORMS = {
    "bits": (
        ("information.transform", "information.label"),
        ("I(J; A): bits about the transformation", "I(Y; A): bits about the class"),
    ),
    "shares": (
        ("information.transform_share", "information.label_share"),
        ("share of the information about the transformation", "share of the information about the class"),
    ),
}


@dataclass(frozen=True)
class PlaneSeries:
    """Values (layer,) and intervals (layer, 2) of one model along both axes, in layer order."""

    name: str
    layers: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    x_interval: np.ndarray
    y_interval: np.ndarray


@dataclass(frozen=True)
class InformationPlane(ChartPlot):
    """Plot of information about the class against information about the transformation, a dot per layer.

    Args:
        form: "bits" or "shares".
        series: one per model.
    """

    title = "Class against transformation"
    reading = (
        "Each dot is a layer; the line joins layers in the order in which they run, starting at the ring. "
        "The higher a dot, the more information single units carry about the class; the further left, the "
        "less about the transformation. Bars are 95 % intervals over samples."
    )
    order = 55

    form: str
    series: tuple[PlaneSeries, ...]

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        form: str = "bits",
        stratum: str = "all",
        layers: Sequence[str] | str | None = "auto",
    ) -> InformationPlane:
        """Collect the layers of each result that have both values.

        Args:
            results: one or several.
            form: "bits", or "shares" of the largest possible information: log2 of the number of elements,
                and the entropy of the classes.
            stratum: "all"; within a single class, there is no information about the class.
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
        Raises:
            ValueError: no result has both values, or an unknown form.
        """
        form = names.choose("form", form, list(FORMS))
        outputs = FORMS[form][0]
        found = tuple(
            _of_layers(series, layers) for series in _all_series(names.as_results(results), outputs, stratum)
        )
        if not found:
            raise ValueError(
                f"no layer has {' and '.join(outputs)} for stratum {stratum!r}: measure 'information' on "
                "data with labels"
            )
        return cls(form, found)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view of bits and one of shares, if any result has them."""
        found = {form: _all_series(results, outputs, "all") for form, (outputs, _) in FORMS.items()}
        return [
            View(form.capitalize(), cls(form, tuple(_of_layers(one, "auto") for one in series)))
            for form, series in found.items()
            if series
        ]

    def paint(self, canvas: Canvas) -> None:
        """Draw dots with intervals, joined by lines; a ring marks the first layer."""
        ax = canvas.panel(5.6, 4.6)
        for i, series in enumerate(self.series):
            _draw_series(ax, series, i, canvas)
        canvas.value_axis(ax)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, *FORMS[self.form][1])
        first = {series.layers[0] for series in self.series}
        canvas.legend(
            ax, [canvas.mark_of("first layer" + (f", {first.pop()}" if len(first) == 1 else ""), "o")]
        )

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, values and intervals."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        chart = live.new_chart(height=360)
        for axis, title in zip((chart.xaxis[0], chart.yaxis[0]), FORMS[self.form][1], strict=True):
            live.axis_title(axis, title)
        shown = {
            "model": "@model",
            "layer": "@layer",
            "class": "@class_text",
            "class, 95 %": "@class_interval",
        }
        shown |= {"transformation": "@transform_text", "transformation, 95 %": "@transform_interval"}
        sources = [_chart_series(chart, series, i) for i, series in enumerate(self.series)]
        numbers = {"model": "model", "layer": "layer", "transformation": "x", "class": "y"}
        for source in sources:
            live.hover_points(chart, source, shown, numbers)
        layer_axis.pickable_points(chart, sources)
        return chart


def _all_series(results: Sequence[Result], outputs: tuple[str, str], stratum: str) -> tuple[PlaneSeries, ...]:
    """Return the series of the results that have a layer to show."""
    named = zip(names.model_names(results), results, strict=True)
    series = (_series(name, result, outputs, stratum) for name, result in named)
    return tuple(entry for entry in series if entry.layers)


def _series(name: str, result: Result, outputs: tuple[str, str], stratum: str) -> PlaneSeries:
    x, y = (names.rows_of(result, output, stratum).set_index(["layer", "call"]) for output in outputs)
    both = x.index[x.index.isin(y.index)]
    x, y = x.loc[both], y.loc[both]
    known = np.isfinite(x["value"].to_numpy(float)) & np.isfinite(y["value"].to_numpy(float))
    x, y = x[known], y[known]
    return PlaneSeries(
        name=name,
        layers=tuple(x["label"]),
        x=x["value"].to_numpy(float),
        y=y["value"].to_numpy(float),
        x_interval=x[["ci_low", "ci_high"]].to_numpy(float),
        y_interval=y[["ci_low", "ci_high"]].to_numpy(float),
    )


def _of_layers(series: PlaneSeries, layers: Sequence[str] | str | None) -> PlaneSeries:
    """Return the series restricted to some layers, see `shown_layers`."""
    kept = shown_layers(series.layers, layers)
    values = (part[kept] for part in (series.x, series.y, series.x_interval, series.y_interval))
    return PlaneSeries(series.name, tuple(np.array(series.layers)[kept].tolist()), *values)


def _draw_series(ax: Axes, series: PlaneSeries, i: int, canvas: Canvas) -> None:
    """Draw one network, with a ring at its first layer."""
    colour, scale, deep = canvas.colour(i), canvas.colours.scale, len(series.layers) > DEEP
    ax.hlines(series.y, *series.x_interval.T, color=colour, linewidth=1.2 * scale, alpha=0.6)
    ax.vlines(series.x, *series.y_interval.T, color=colour, linewidth=1.2 * scale, alpha=0.6)
    style = {**canvas.series_style(i), "markersize": (3.0 if deep else 5.0) * scale}
    ax.plot(series.x, series.y, linewidth=1.2 * scale, label=series.name, **style)
    ring = {"markerfacecolor": "none", "markeredgecolor": colour, "markersize": 10 * scale}
    ax.plot(series.x[:1], series.y[:1], "o", **ring)


def _chart_series(chart: Any, series: PlaneSeries, i: int) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    source, role = ColumnDataSource(_columns(series)), f"series:{i}"
    bars = [
        chart.segment("left", "y", "right", "y", source=source, line_width=1.6, line_alpha=0.6),
        chart.segment("x", "low", "x", "high", source=source, line_width=1.6, line_alpha=0.6),
        chart.scatter(list(series.x[:1]), list(series.y[:1]), size=16, fill_alpha=0, line_width=1.4),
    ]
    for renderer in bars:
        live.themed(renderer.glyph, line_color=role)
    live.line_with_dots(chart, source, i)
    return source


def _columns(series: PlaneSeries) -> dict[str, Any]:
    (left, right), (low, high) = series.x_interval.T, series.y_interval.T
    return {
        "x": series.x, "y": series.y, "left": left, "right": right, "low": low, "high": high,
        "layer": list(series.layers), "model": [series.name] * len(series.layers),
        "transform_text": [names.number(v) for v in series.x],
        "class_text": [names.number(v) for v in series.y],
        "transform_interval": names.intervals(left, right), "class_interval": names.intervals(low, high),
    }  # fmt: skip
