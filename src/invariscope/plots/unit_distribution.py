"""Distribution of unit values within each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ModelPlot, View, measure_views
from invariscope.plots.shared.cells import shown_maps

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 48
NUMBERS = ("layer", "low", "first", "median", "third", "high", "mean")
# If there are more layers, quantiles are bands instead of boxes.
DEEP = 24
_OUTER, _INNER = 0.18, 0.35


@dataclass(frozen=True)
class UnitDistribution(ModelPlot):
    """Quantiles of the units' values per layer.

    Args:
        layers: in the order in which they run.
        quantiles: the 5, 25, 50, 75 and 95 % quantiles over the live units, (layers, 5); NaN if all are dead.
        mean: mean over the live units, one per layer.
        outline: smoothed histogram of the values, (layers, BINS) over the axis, with maximum 1.
        live: number of units with a value.
        dead: number of units without a value.
        null: null of the layer's mean, one per layer; NaN if there is none.
    """

    title = "Spread within a layer"
    reading = (
        "The box covers the middle half of a layer's units, the line through it is the median, the "
        "whiskers reach from the 5th to the 95th percentile, and the diamond is the mean. A mean far above "
        "the box is caused by a few units with large values."
    )
    order = 45
    single = True

    layers: tuple[str, ...]
    quantiles: np.ndarray
    mean: np.ndarray
    outline: np.ndarray
    live: np.ndarray
    dead: np.ndarray
    null: np.ndarray

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        stratum: str = "all",
        layers: Sequence[str] | str | None = "auto",
    ) -> UnitDistribution:
        """Compute quantiles over all units of each layer with a map.

        Args:
            result: a result; several are drawn beside each other.
            measure: a measure with maps; None for normalized variance if present, otherwise the first.
            stratum: "all", a class, or "mean".
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
        Raises:
            ValueError: no maps, or none of that measure and stratum.
        """
        measure = names.choose("measure", measure, names.map_measures(result))
        maps = shown_maps(result, measure, stratum, layers)
        finite = [np.asarray(array, float)[np.isfinite(array)] for array in maps.values()]
        quantiles = np.stack([_quantiles(values) for values in finite])
        mean = np.array([values.mean() if len(values) else np.nan for values in finite])
        return cls(
            measure=measure,
            model=result.name,
            layers=tuple(maps),
            quantiles=quantiles,
            mean=mean,
            outline=np.stack(
                [_outline(values, _bottom(quantiles), _top(quantiles, mean)) for values in finite]
            ),
            live=np.array([len(values) for values in finite]),
            dead=np.array([array.size for array in maps.values()]) - [len(values) for values in finite],
            null=_nulls(result, measure, stratum, list(maps)),
            stratum=stratum,
        )

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per measure and result with maps."""
        return measure_views(cls, results, names.map_measures)

    @property
    def top(self) -> float:
        """Return the upper end of the axis."""
        return _top(self.quantiles, self.mean)

    @property
    def bottom(self) -> float:
        """Return the lower end of the axis: 0, or less if there are negative values."""
        return _bottom(self.quantiles)

    @property
    def span(self) -> tuple[float, float]:
        """Return the ends of the axis."""
        return self.bottom, self.top

    def paint(self, canvas: Canvas) -> None:
        """Draw a violin per layer with a box and whiskers inside or, for many layers, bands of quantiles."""
        ax = canvas.panel(min(14.0, 4.5 + 0.4 * len(self.layers)), 4.0)
        deep = len(self.layers) > DEEP
        if deep:
            self._draw_bands(ax, canvas)
        else:
            self._draw_violins(ax, canvas)
        ax.plot(self._x, self.null, ":", color=canvas.colours.muted, linewidth=1.2 * canvas.colours.scale)
        dead = self._x[self.live == 0]
        canvas.draw_missing(ax, dead, canvas.colours.muted)
        canvas.value_axis(ax, self.bottom, self.top)
        canvas.horizontal_grid(ax)
        canvas.name_ticks(ax, self.layers)
        canvas.heading(ax, self.model)
        canvas.axis_titles(ax, names.layer_axis(self.layers), names.titled(self.measure, self.stratum))
        marks = [canvas.mark_of("all units dead", "x")] if len(dead) else []
        null = "null" if np.isfinite(self.null).any() else ""
        canvas.legend(ax, [*_keys(canvas, deep=deep), *marks], dotted=null)

    @property
    def _x(self) -> np.ndarray:
        return np.arange(len(self.layers), dtype=float)

    def _draw_violins(self, ax: Axes, canvas: Canvas) -> None:
        x, colour, scale = self._x, canvas.colour(0), canvas.colours.scale
        low, first, median, third, high = self.quantiles.T
        heights = np.linspace(self.bottom, self.top, BINS)
        for place, outline in zip(x, 0.42 * self.outline, strict=True):
            ax.fill_betweenx(heights, place - outline, place + outline, color=colour, alpha=0.25, linewidth=0)
        ax.vlines(x, low, high, color=colour, linewidth=1.2 * scale)
        box: dict[str, Any] = {"bottom": first, "width": 0.24}
        style = {"color": canvas.colours.surface, "edgecolor": colour, "linewidth": 1.2 * scale}
        ax.bar(x, third - first, **box, **style)
        ax.bar(x, third - first, **box, color=colour, alpha=0.25, linewidth=0)
        ax.hlines(median, x - 0.12, x + 0.12, color=colour, linewidth=2.2 * scale)
        ax.plot(x, self.mean, "D", color=canvas.colour(1), markersize=4.5 * scale)

    def _draw_bands(self, ax: Axes, canvas: Canvas) -> None:
        x, colour, scale = self._x, canvas.colour(0), canvas.colours.scale
        low, first, median, third, high = self.quantiles.T
        ax.fill_between(x, low, high, color=colour, alpha=_OUTER, linewidth=0)
        ax.fill_between(x, first, third, color=colour, alpha=_INNER, linewidth=0)
        ax.plot(x, median, color=colour, linewidth=1.4 * scale)
        ax.plot(x, self.mean, "D", color=canvas.colour(1), markersize=2.2 * scale)

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows quantiles, mean, live and dead units."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        count = len(self.layers)
        chart = live.new_chart(height=300)
        chart.x_range, chart.y_range = live.fixed(-0.6, count - 0.4), live.fixed(self.bottom, self.top)
        boxes = _chart_boxes(chart, self._columns())
        layer_axis.layer_columns(chart, self.layers)
        live.axis_title(chart.yaxis[0], names.titled(self.measure, self.stratum))
        shown = {"layer": "@layer", "median": "@median_text", "mean": "@mean_text", "middle half": "@half"}
        live.hover(chart, boxes, {**shown, "5 to 95 %": "@most", "units": "@live live, @dead dead"})
        live.saved(boxes[0].data_source, {name: name for name in NUMBERS})
        return chart

    def _columns(self) -> dict[str, Any]:
        low, first, median, third, high = self.quantiles.T
        x = np.arange(len(self.layers), dtype=float)
        return {
            "x": x, "left": x - 0.28, "right": x + 0.28, "low": low, "first": first, "median": median,
            "third": third, "high": high, "mean": self.mean, "layer": list(self.layers),
            "median_text": [names.number(v) for v in median],
            "mean_text": [names.number(v) for v in self.mean],
            "half": names.intervals(first, third),
            "most": names.intervals(low, high),
            "live": [f"{n:,}" for n in self.live], "dead": [f"{n:,}" for n in self.dead],
        }  # fmt: skip


def _nulls(result: Result, measure: str, stratum: str, layers: Sequence[str]) -> np.ndarray:
    rows = names.rows_of(result, measure, stratum).drop_duplicates("label").set_index("label")
    return rows["null"].reindex(list(layers)).to_numpy(float)


def _keys(canvas: Canvas, *, deep: bool) -> list[Any]:
    """Return the entries of the legend."""
    from matplotlib.patches import Patch

    colour, style = canvas.colour(0), {"color": canvas.colour(1), "marker": "D", "linestyle": ""}
    mean = canvas.line_of("mean")
    mean.set(**style, markersize=4.5 * canvas.colours.scale)
    inner = Patch(color=colour, alpha=_INNER, linewidth=0, label="middle half")
    outer = Patch(color=colour, alpha=_OUTER, linewidth=0, label="5 to 95 %")
    middle, most = canvas.line_of("median"), canvas.line_of("5 to 95 %")
    middle.set(color=colour)
    most.set(color=colour, marker="|", linestyle="", markersize=9 * canvas.colours.scale)
    return [middle, inner, outer if deep else most, mean]


def _quantiles(values: np.ndarray) -> np.ndarray:
    return np.quantile(values, QUANTILES) if len(values) else np.full(len(QUANTILES), np.nan)


def _top(quantiles: np.ndarray, mean: np.ndarray) -> float:
    known = np.concatenate([quantiles.ravel(), mean])
    known = known[np.isfinite(known)]
    return 1.06 * float(known.max()) if len(known) and known.max() > 0 else 1.0


def _bottom(quantiles: np.ndarray) -> float:
    known = quantiles[np.isfinite(quantiles)]
    return 1.06 * min(0.0, float(known.min())) if len(known) else 0.0


def _outline(values: np.ndarray, bottom: float, top: float) -> np.ndarray:
    """Return counts in BINS equal bins, smoothed over about two bins to each side, with maximum 1."""
    counts, _ = np.histogram(values, bins=BINS, range=(bottom, top))
    weights = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    smooth = np.convolve(counts, weights / weights.sum(), mode="same")
    return smooth / smooth.max() if smooth.max() > 0 else smooth


def _chart_boxes(chart: Any, columns: dict[str, Any]) -> list[Any]:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    source = ColumnDataSource(columns)
    whisker = chart.segment("x", "low", "x", "high", source=source, line_width=1.4)
    ground = chart.quad("left", "right", "third", "first", source=source, line_width=1.4)
    box = chart.quad("left", "right", "third", "first", source=source, fill_alpha=0.25, line_color=None)
    median = chart.segment("left", "median", "right", "median", source=source, line_width=2.4)
    mean = chart.scatter("x", "mean", source=source, size=11, marker="diamond")
    for renderer in (whisker, median):
        live.themed(renderer.glyph, line_color="series:0")
    live.themed(ground.glyph, line_color="series:0", fill_color="surface")
    live.themed(box.glyph, fill_color="series:0")
    live.themed(mean.glyph, fill_color="series:1", line_color="surface")
    return [whisker, box]
