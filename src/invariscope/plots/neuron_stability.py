"""Stability of the neurons of each layer to local deformations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View, whole_plot
from invariscope.plots.shared.cells import layer_maps
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

PREFIX = "neuron_stability."
DODGE, SPREAD = 0.13, 0.7
NUMBERS = {"deformation": "name", "layer": "layer", "value": "y", "low": "low", "high": "high"}
# If there are more layers, intervals are bands instead of bars, and quartiles are left out.
DEEP = 24
CHANGE = "change / change between patches"


@dataclass(frozen=True)
class DeformationSeries:
    """The values of one deformation, an entry per layer; unknown quartiles and intervals are NaN."""

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quartiles: np.ndarray


@dataclass(frozen=True)
class NeuronStability(ChartPlot):
    """Plot of the mean stability of neurons, a line per deformation, with the middle half of the neurons.

    Args:
        model: the model's name.
        layers: in the order of the result.
        series: one per deformation.
    """

    title = "Neurons under local deformations"
    reading = (
        "Each line shows one deformation of the neurons' receptive fields. Each dot is the mean over a "
        "layer's neurons, with its 95 % interval over images; the thin bar covers the middle half of them. "
        "At 0, responses do not change; at 1, they change as much as from one patch to another."
    )
    order = 64
    single = True

    model: str
    layers: tuple[str, ...]
    series: tuple[DeformationSeries, ...]

    @classmethod
    def prepare(
        cls, result: Result, *, stratum: str = "all", layers: Sequence[str] | str | None = "auto"
    ) -> NeuronStability:
        """Collect the values of each layer and deformation.

        Args:
            result: a result of `iv.neuron_stability`; several are drawn beside each other.
            stratum: stratum of the samples; results of `iv.neuron_stability` have only "all".
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
        Raises:
            ValueError: the result has no such values.
        """
        measures = _measures(result)
        names.choose("neuron stability", None, measures)
        rows = [names.rows_of(result, name, stratum) for name in measures]
        labels = list(dict.fromkeys(label for part in rows for label in part["label"]))
        if not labels:
            raise ValueError(f"no neuron stability for stratum {stratum!r}")
        shown = tuple(np.array(labels)[shown_layers(labels, layers)].tolist())
        return cls(result.name, shown, tuple(_series(result, name, stratum, shown) for name in measures))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per result with such values."""
        named = zip(names.model_names(results), results, strict=True)
        return [
            View(name, cls.prepare(result), whole_plot(cls.prepare, [result], result))
            for name, result in named
            if _measures(result)
        ]

    @property
    def top(self) -> float:
        """Return the upper end of the axis."""
        known = np.concatenate([np.r_[s.value, s.high, s.quartiles.ravel()] for s in self.series])
        known = known[np.isfinite(known)]
        return 1.08 * float(known.max()) if len(known) and known.max() > 0 else 1.0

    @property
    def span(self) -> tuple[float, float]:
        """Return the ends of the axis."""
        return 0.0, self.top

    def paint(self, canvas: Canvas) -> None:
        """Draw lines with dots, intervals, and thin bars."""
        ax = canvas.panel(min(14.0, 5.0 + 0.5 * len(self.layers)), 4.2)
        for i, series in enumerate(self.series):
            self._draw_series(ax, i, series, canvas)
        canvas.heading(ax, self.model)
        canvas.value_axis(ax, 0, self.top)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, names.layer_axis(self.layers), CHANGE)
        canvas.name_ticks(ax, self.layers)
        canvas.legend(ax)

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, deformation, value and interval."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        chart = live.new_chart(height=320)
        chart.y_range = live.fixed(0, self.top)
        live.axis_title(chart.yaxis[0], CHANGE)
        layer_axis.layer_columns(chart, self.layers)
        chart.x_range = live.fixed(-0.6, len(self.layers) - 0.4)
        shown = {
            **{"layer": "@layer", "deformation": "@name", "value": "@text", "95 %": "@interval"},
            "middle half of neurons": "@middle",
        }
        for i, series in enumerate(self.series):
            live.hover_points(chart, self._source(chart, series, i), shown, NUMBERS)
        return chart

    def _draw_series(self, ax: Axes, i: int, series: DeformationSeries, canvas: Canvas) -> None:
        """Draw one deformation: with bars, or with a band for many layers."""
        colour, scale, deep = canvas.colour(i), canvas.colours.scale, len(self.layers) > DEEP
        x = np.arange(len(self.layers), dtype=float) if deep else self._places(i)
        if deep:
            ax.fill_between(x, series.low, series.high, color=colour, alpha=0.2, linewidth=0)
        else:
            ax.vlines(x, *series.quartiles.T, color=colour, linewidth=0.9 * scale, alpha=0.7)
            ax.vlines(x, series.low, series.high, color=colour, linewidth=3 * scale, alpha=0.5)
        style = {**canvas.series_style(i), "linestyle": LINE_STYLES[DASHES[i % 4]]}
        style |= {"linewidth": 1.3 * scale, "markersize": (2.0 if deep else 4.5) * scale}
        ax.plot(x, series.value, label=series.name, **style)

    def _places(self, i: int) -> np.ndarray:
        last = len(self.series) - 1
        return np.arange(len(self.layers)) + min(DODGE, SPREAD / max(last, 1)) * (i - last / 2)

    def _source(self, chart: Any, series: DeformationSeries, i: int) -> Any:
        from bokeh.models import ColumnDataSource

        from invariscope.plots.shared import interactive as live

        lower, upper = series.quartiles.T
        source = ColumnDataSource({
            "x": self._places(i), "y": series.value, "low": series.low, "high": series.high,
            "lower": lower, "upper": upper, "layer": list(self.layers),
            "name": [series.name] * len(self.layers), "text": [names.number(v) for v in series.value],
            "interval": names.intervals(series.low, series.high),
            "middle": names.intervals(lower, upper),
        })  # fmt: skip
        thin = chart.segment("x", "lower", "x", "upper", source=source, line_width=1, line_alpha=0.7)
        bar = chart.segment("x", "low", "x", "high", source=source, line_width=4, line_alpha=0.5)
        for renderer in (thin, bar):
            live.themed(renderer.glyph, line_color=f"series:{i}")
        live.line_with_dots(chart, source, i)
        return source


def _measures(result: Result) -> list[str]:
    return list(dict.fromkeys(r["measure"] for r in result.rows if r["measure"].startswith(PREFIX)))


def _series(result: Result, measure: str, stratum: str, layers: tuple[str, ...]) -> DeformationSeries:
    rows = names.rows_of(result, measure, stratum).set_index("label")
    value, low, high = (rows[c].reindex(list(layers)).to_numpy(float) for c in ("value", "ci_low", "ci_high"))
    maps = layer_maps(result, measure, stratum)
    quartiles = np.array([_quartiles(maps.get(layer)) for layer in layers])
    return DeformationSeries(measure.removeprefix(PREFIX).replace("_", " "), value, low, high, quartiles)


def _quartiles(values: np.ndarray | None) -> tuple[float, float]:
    known = np.zeros(0) if values is None else values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.25, 0.75])
    return float(low), float(high)
