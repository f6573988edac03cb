"""A column per layer, a cell per feature map or unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.cells import CELL_LIMIT, Cells, cells, layer_maps, shared_range

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.results.result import Result


@dataclass(frozen=True)
class UnitHeatmap(ChartPlot):
    """Every feature map or unit of every layer, as the colour of a cell.

    All columns have the same height, so a layer of 10 units has tall cells and one of 512 low ones.

    Args:
        measure: what the colour shows.
        model: the model's name.
        columns: one per layer, in the order in which the layers run.
        span: the values at the two ends of the colour scale; values beyond take the end's colour.
    """

    title = "Unit by unit"
    reading = (
        "A column is a layer, a cell one of its feature maps (the mean over its positions) or units. Dark "
        "cells respond least to the transformation; hatched ones are dead: they never respond, so they have "
        "no value."
    )
    order = 40

    measure: str
    model: str
    columns: tuple[Cells, ...]
    span: tuple[float, float]

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        stratum: str = "all",
        sort: bool = False,
        limit: int = CELL_LIMIT,
    ) -> UnitHeatmap:
        """The cells of every layer that has a map.

        Args:
            result: one result.
            measure: a measure with maps; None takes the normalized variance or what comes first.
            stratum: "all", a class, or "mean".
            sort: order each column by value, dead cells last, instead of by number.
            limit: most cells in a column; beyond it, neighbours are averaged.
        Raises:
            ValueError: no maps, or none of that measure.
        """
        measure = names.choose("measure", measure, names.map_measures(result))
        columns = [
            cells(label, array, limit=limit)
            for label, array in layer_maps(result, measure, stratum).items()
            if array.size
        ]
        if not columns:
            raise ValueError(f"no maps of {measure!r} for stratum {stratum!r}")
        span = shared_range(column.values for column in columns)
        return cls(measure, result.name, tuple(map(_sorted, columns) if sort else columns), span)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Every measure of every result; results share the colour scale of a measure."""
        named = list(zip(names.model_names(results), results, strict=True))
        measures = names.headline_first(m for result in results for m in names.map_measures(result))
        return [view for measure in measures for view in cls._alike(measure, named)]

    @classmethod
    def _alike(cls, measure: str, named: Sequence[tuple[str, Result]]) -> list[View]:
        plots = [
            replace(cls.prepare(result, measure=measure), model=name)
            for name, result in named
            if measure in names.map_measures(result)
        ]
        span = shared_range(column.values for plot in plots for column in plot.columns)
        title = names.measure_title(measure)
        return [
            View(f"{title} · {plot.model}" if len(named) > 1 else title, replace(plot, span=span))
            for plot in plots
        ]

    def draw(self, *, theme: str = "light") -> Figure:
        """Columns of cells beside each other, with a colour bar."""
        from invariscope.plots.shared import static

        count = len(self.columns)
        figure, axes, colours = static.new_figure(min(16.0, 3.0 + 0.55 * count), 5.0, theme)
        ax = axes[0, 0]
        for i, column in enumerate(self.columns):
            static.hatched(ax, i - 0.45, 0, 0.9, 1, colours)
            static.draw_strip(ax, column.values[:, None], left=i - 0.45, width=0.9, span=self.span)
        ax.set(xlim=(-0.5, count - 0.5), ylim=(1, 0), yticks=[])
        ax.spines[:].set_visible(False)
        static.name_ticks(ax, [column.label for column in self.columns])
        static.heading(ax, self.model, colours)
        static.colour_bar(figure, ax, self.span, names.measure_title(self.measure), colours)
        return figure

    def chart(self) -> UIElement:
        """The same, interactive: layer, feature map or unit, and value under the pointer."""
        from invariscope.plots.shared import interactive as live

        count, layers = len(self.columns), [column.label for column in self.columns]
        chart = live.new_chart(height=420)
        chart.x_range, chart.y_range = live.fixed(-0.5, count - 0.5), live.fixed(0, 1)
        chart.yaxis.visible, chart.ygrid.visible = False, False
        left = [i - 0.45 for i in range(count)]
        # A little smaller than the images, so that no hatch looks out behind them.
        inside = {"left": [x + 0.01 for x in left], "right": [x + 0.89 for x in left]}
        live.hatched(chart, {**inside, "bottom": [0.002] * count, "top": [0.998] * count})
        scale = live.colour_scale(self.span)
        # Bokeh puts an image's first row at the bottom; number 0 belongs on top.
        flipped = [column.values[::-1, None] for column in self.columns]
        images = live.strips(
            chart, flipped, {"x": left, "y": [0] * count, "dw": [0.9] * count, "dh": [1] * count},
            {"layer": layers, "kind": [c.lead for c in self.columns], "number": _numbers(self.columns)},
            scale,
        )  # fmt: skip
        live.name_columns(chart, layers)
        live.hover(chart, [images], {"layer": "@layer", "cell": "@kind @number", "value": "@image{0.000}"})
        live.colour_bar(chart, scale)
        return chart


def _sorted(column: Cells) -> Cells:
    order = np.argsort(column.values, kind="stable")
    return replace(column, values=column.values[order], index=column.index[order])


def _numbers(columns: Sequence[Cells]) -> list[np.ndarray]:
    return [np.ascontiguousarray(column.index[::-1, None], dtype=np.int32) for column in columns]
