"""Heat map with a column per layer and a cell per feature map or unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ModelPlot, View, measure_views
from invariscope.plots.shared.cells import CELL_LIMIT, Cells, cells, shared_range, shown_maps

if TYPE_CHECKING:
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

# Cells per layer if a report shows all layers of a deep network.
WHOLE_LIMIT = 256


@dataclass(frozen=True)
class UnitHeatmap(ModelPlot):
    """Values of all feature maps or units of each layer, as colours of cells.

    All columns have the same height, so the cells of a layer with few units are taller.

    Args:
        columns: one per layer, in the order in which the layers run.
        span: the values at the two ends of the colour scale; values beyond an end get the colour of that end.
        null: median over layers of the null; NaN if there is none.
        sorted: whether each column is ordered by value instead of by index.
    """

    title = "Unit by unit"
    reading = (
        "Each column is a layer, and each cell is a unit or a feature map (the mean over its positions). "
        "Dark cells have the lowest values. Hatched cells are dead: they never respond, so they have no "
        "value."
    )
    order = 40
    single = True

    columns: tuple[Cells, ...]
    span: tuple[float, float]
    null: float = float("nan")
    sorted: bool = False

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        stratum: str = "all",
        layers: Sequence[str] | str | None = "auto",
        sort: bool = False,
        limit: int = CELL_LIMIT,
    ) -> UnitHeatmap:
        """Collect the cells of each layer with a map.

        Args:
            result: a result; several are drawn beside each other.
            measure: a measure with maps; None for normalized variance if present, otherwise the first.
            stratum: "all", a class, or "mean".
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
            sort: whether to order each column by value, with dead cells last, instead of by index.
            limit: the largest number of cells in a column; if there are more, neighbours are averaged.
        Raises:
            ValueError: no maps, or none for that measure.
        """
        measure = names.choose("measure", measure, names.map_measures(result))
        maps = shown_maps(result, measure, stratum, layers)
        columns = [cells(label, array, limit=limit) for label, array in maps.items()]
        span = shared_range(column.values for column in columns)
        nulls = names.rows_of(result, measure, stratum)["null"].to_numpy(float)
        nulls = nulls[np.isfinite(nulls)]
        null = float(np.median(nulls)) if len(nulls) else float("nan")
        columns = list(map(_sorted, columns)) if sort else columns
        return cls(measure, result.name, tuple(columns), span, null, sort, stratum=stratum)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per measure and result; results share the colour scale of a measure."""
        views = measure_views(cls, results, names.map_measures, limit=WHOLE_LIMIT)
        plots: list[Any] = [view.plot for view in views]
        spans = {
            measure: shared_range(c.values for plot in plots if plot.measure == measure for c in plot.columns)
            for measure in {plot.measure for plot in plots}
        }

        def scaled(plot: Any) -> Any:
            return plot and replace(plot, span=spans[plot.measure])

        return [replace(view, plot=scaled(view.plot), whole=scaled(view.whole)) for view in views]

    def paint(self, canvas: Canvas) -> None:
        """Draw the columns of cells side by side, with a colour bar."""
        count = len(self.columns)
        ax = canvas.panel(min(16.0, 3.0 + 0.55 * count), 5.0)
        for i, column in enumerate(self.columns):
            canvas.hatched(ax, i - 0.45, 0, 0.9, 1)
            canvas.draw_strip(ax, column.values[:, None], left=i - 0.45, width=0.9, span=self.span)
        ax.set(xlim=(-0.5, count - 0.5), ylim=(1, 0), yticks=[])
        ax.spines[:].set_visible(False)
        canvas.name_ticks(ax, [column.label for column in self.columns])
        canvas.heading(ax, self.model)
        layers = [column.label for column in self.columns]
        canvas.axis_titles(
            ax, names.layer_axis(layers), "units, first on top" if not self.sorted else "units, by value"
        )
        values = np.concatenate([column.values for column in self.columns])
        canvas.colour_bar(
            ax, self.span, names.titled(self.measure, self.stratum), values=values, null=self.null
        )
        if np.isnan(values).any():
            canvas.explain_hatch("dead: no response, or no unit drawn")

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, feature map or unit, and value."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        count, layers = len(self.columns), [column.label for column in self.columns]
        chart = live.new_chart(height=420)
        chart.x_range, chart.y_range = live.fixed(-0.5, count - 0.5), live.fixed(0, 1)
        chart.yaxis.visible, chart.ygrid.visible = False, False
        left = [i - 0.45 for i in range(count)]
        # Slightly smaller than the images, so that the hatch is not visible at their edges.
        inside = {"left": [x + 0.01 for x in left], "right": [x + 0.89 for x in left]}
        live.hatched(chart, {**inside, "bottom": [0.002] * count, "top": [0.998] * count})
        scale = live.colour_scale(self.span)
        # Bokeh puts an image's first row at the bottom; index 0 belongs at the top.
        flipped = [column.values[::-1, None] for column in self.columns]
        images = live.strips(
            chart, flipped, {"x": left, "y": [0] * count, "dw": [0.9] * count, "dh": [1] * count},
            {"layer": layers, "kind": [c.lead for c in self.columns], "number": _numbers(self.columns)},
            scale,
        )  # fmt: skip
        layer_axis.layer_columns(chart, layers)
        live.saved(
            images.data_source, {"layer": "layer", "kind": "kind", "number": "number", "value": "image"}
        )
        live.hover(chart, [images], {"layer": "@layer", "cell": "@kind @number", "value": "@image{0.000}"})
        live.colour_bar(chart, scale)
        return chart


def _sorted(column: Cells) -> Cells:
    order = np.argsort(column.values, kind="stable")
    return replace(column, values=column.values[order], index=column.index[order])


def _numbers(columns: Sequence[Cells]) -> list[np.ndarray]:
    return [np.ascontiguousarray(column.index[::-1, None], dtype=np.int32) for column in columns]
