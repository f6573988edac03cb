"""Heat maps of classes by layers, and of classes by units of the last layer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View, measure_views
from invariscope.plots.shared.cells import Cells, cells, live_mean, shared_range
from invariscope.plots.shared.depth import shown_layers

if TYPE_CHECKING:
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

UNIT_LIMIT, FEW_UNITS = 256, 20
# If there are more classes, only so many at either end are shown, with quantiles over all of them in between.
MOST_CLASSES, EXTREMES = 40, 12
QUANTILES = {"10 %": 0.1, "median": 0.5, "90 %": 0.9}


@dataclass(frozen=True)
class Summary:
    """The classes with the lowest and the highest values, for many classes.

    Args:
        lowest, highest: positions of classes, in ascending order of their values.
    """

    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Summary:
        """Choose classes by the mean over layers of their (class, layer) values."""
        means = live_mean(values)
        order = np.argsort(means, kind="stable")[: int(np.isfinite(means).sum())]
        cut = min(EXTREMES, len(order) // 2)
        return cls(order[:cut], order[len(order) - cut :])

    def names(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the rows."""
        lowest, highest = ([str(classes[i]) for i in part] for part in (self.lowest, self.highest))
        return (*lowest, *(f"{name} of {len(classes):,} classes" for name in QUANTILES), *highest)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Return the rows for (class, column) values: the lowest, quantiles of each column, the highest."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            middle = np.nanquantile(values, list(QUANTILES.values()), axis=0)
        return np.concatenate([values[self.lowest], middle, values[self.highest]])

    def cells(self, rows: Sequence[Cells]) -> tuple[Cells, ...]:
        """Return the rows for the cells of each class."""
        if not rows:
            return ()
        return tuple(
            replace(rows[0], values=row) for row in self.rows(np.stack([row.values for row in rows]))
        )


@dataclass(frozen=True)
class ClassHeatmap(ChartPlot):
    """Heat maps of each class's layer values, and of its values in the units of the last layer.

    Args:
        measure: the measure shown by colour.
        model: the model's name.
        classes: the rows.
        layers: the columns of `by_layer`.
        by_layer: layer values, (classes, layers); NaN for missing values.
        last_layer: the layer of `by_unit`.
        by_unit: one `Cells` per class over that layer's feature maps or units; empty without maps.
        span, unit_span: the values at the two ends of the two colour scales.
    """

    title = "Class by class"
    reading = (
        "Each row shows the measure on the samples of a single class. Samples are then compared only with "
        "others of their class, so normalized values are usually higher. If the last layer is the output, "
        "its diagonal shows each class in the unit of that class. If there are many classes, only those "
        "with the lowest and highest values are shown, with quantiles over all classes in between."
    )
    order = 50
    single = True

    measure: str
    model: str
    classes: tuple[str, ...]
    layers: tuple[str, ...]
    by_layer: np.ndarray
    last_layer: str
    by_unit: tuple[Cells, ...]
    span: tuple[float, float]
    unit_span: tuple[float, float]

    @classmethod
    def prepare(
        cls,
        result: Result,
        *,
        measure: str | None = None,
        layers: Sequence[str] | str | None = "auto",
        limit: int = UNIT_LIMIT,
    ) -> ClassHeatmap:
        """Collect layer values per class, and per-class maps of the last layer that has them.

        Args:
            result: a result measured with `by_class=True`; several are drawn beside each other.
            measure: the measure; None for normalized variance if present, otherwise the first.
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
            limit: the largest number of units shown; if there are more, neighbours are averaged.
        Raises:
            ValueError: the result has no values per class, or none of that measure.
        """
        measured = _class_measures(result)
        if not measured:
            raise ValueError("the result has no values per class: measure labelled data with by_class=True")
        measure = names.choose("measure", measure, measured)
        classes = tuple(names.class_strata(result, measure))
        labels, by_layer = _layer_values(result, measure, classes)
        kept = shown_layers(labels, layers)
        labels, by_layer = tuple(np.array(labels)[kept].tolist()), by_layer[:, kept]
        last_layer, by_unit = _last_units(result, measure, classes, limit)
        if len(classes) > MOST_CLASSES:
            some = Summary.of(by_layer)
            classes, by_layer = some.names(classes), some.rows(by_layer)
            by_unit = some.cells(by_unit)
        spans = shared_range([by_layer]), shared_range(row.values for row in by_unit)
        return cls(measure, result.name, classes, labels, by_layer, last_layer, by_unit, *spans)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per measure and result with classes."""
        return measure_views(cls, results, _class_measures)

    def paint(self, canvas: Canvas) -> None:
        """Draw both heat maps side by side."""
        count, title = 2 if self.by_unit else 1, names.measure_title(self.measure)
        size = (min(16.0, 4.0 * count + 0.35 * len(self.layers)), 1.8 + 0.25 * len(self.classes))
        axes = canvas.panels(*size, columns=count)
        canvas.draw_matrix(axes[0, 0], self.by_layer, self.classes, self.span)
        canvas.name_ticks(axes[0, 0], self.layers)
        canvas.axis_titles(axes[0, 0], names.layer_axis(self.layers), "class")
        canvas.heading(axes[0, 0], self.model, columns=count)
        canvas.colour_bar(axes[0, 0], self.span, title, values=self.by_layer)
        if self.by_unit:
            values = np.stack([row.values for row in self.by_unit])
            canvas.draw_matrix(axes[0, 1], values, self.classes, self.unit_span)
            canvas.axis_titles(axes[0, 1], self._unit_axis, "class")
            if values.shape[1] <= FEW_UNITS:
                canvas.name_ticks(axes[0, 1], [str(i) for i in self.by_unit[0].index])
            canvas.colour_bar(axes[0, 1], self.unit_span, title, values=values)

    @property
    def _unit_axis(self) -> str:
        first = self.by_unit[0]
        return f"{first.kind} of {self.last_layer}" + (f", means of {first.step}" if first.step > 1 else "")

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows class, layer or unit, and value."""
        from bokeh.layouts import column

        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        # Each row repeats the layer names, because Bokeh looks up the hovered cell in the row's own image.
        layers = [[list(self.layers)]] * len(self.classes)
        first = self._matrix_chart(self.by_layer, self.span, {"layer": layers}, {"layer": "@layer"})
        layer_axis.layer_columns(first, self.layers)
        if not self.by_unit:
            return first
        numbers = [np.ascontiguousarray(row.index[None], dtype=np.int32) for row in self.by_unit]
        values = np.stack([row.values for row in self.by_unit])
        columns = {"kind": [row.lead for row in self.by_unit], "number": numbers}
        second = self._matrix_chart(values, self.unit_span, columns, {"cell": "@kind @number"})
        live.axis_title(second.xaxis[0], self.by_unit[0].caption)
        if values.shape[1] <= FEW_UNITS:
            live.name_ticks(second.xaxis[0], [str(i) for i in self.by_unit[0].index])
        return column(first, second, sizing_mode="stretch_width", spacing=12)

    def _matrix_chart(
        self, matrix: np.ndarray, span: tuple[float, float], columns: dict[str, Any], shown: dict[str, str]
    ) -> Any:
        from invariscope.plots.shared import interactive as live

        rows = len(matrix)
        chart = live.new_chart(height=80 + 22 * rows)
        scale = live.colour_scale(span)
        images = live.matrix(chart, matrix, {"class": list(self.classes), **columns}, scale)
        live.name_ticks(chart.yaxis[0], self.classes)
        live.hover(chart, [images], {"class": "@class", **shown, "value": "@image{0.000}"})
        live.saved(
            images.data_source, {"class": "class", **{name: name for name in columns}, "value": "image"}
        )
        live.colour_bar(chart, scale)
        return chart


def _class_measures(result: Result) -> list[str]:
    table = result.table
    of_classes = table[~table["stratum"].isin(names.NOT_A_CLASS) & table["value"].notna()]
    return names.headline_first(of_classes["measure"])


def _layer_values(result: Result, measure: str, classes: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the layers of the first class, and the (class, layer) values; NaN if there is none."""
    of_class: dict[str, dict[str, float]] = {name: {} for name in classes}
    for row in result.rows:
        if row.measure == measure and row.stratum in of_class:
            of_class[row.stratum][names.layer_label(*row.key)] = row.value
    layers = tuple(of_class[classes[0]])
    return layers, np.array([[own.get(layer, np.nan) for layer in layers] for own in of_class.values()])


def _last_units(
    result: Result, measure: str, classes: Sequence[str], limit: int
) -> tuple[str, tuple[Cells, ...]]:
    maps = result.maps
    for layer, call in reversed(dict.fromkeys(row.key for row in result.rows if row.measure == measure)):
        keys = [(measure, layer, name, call) for name in classes]
        if all(key in maps for key in keys):
            label = names.layer_label(layer, call)
            return label, tuple(cells(label, maps[key], limit=limit) for key in keys)
    return "", ()
