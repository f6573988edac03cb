"""Layers over epochs: how the value of every layer changes while a network trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, View
from invariscope.plots.shared.cells import shared_range

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.results.result import Result

CROWDED = 12


@dataclass(frozen=True)
class EpochHeatmap(ChartPlot):
    """A row per layer, a column per measured epoch of one training.

    Args:
        measure: what the colour shows.
        model: the training's name.
        layers: the rows, in the order in which the layers run.
        epochs: the columns: epochs done, 0 before training.
        value, low, high: (layer, epoch) values and interval ends; NaN where there is none.
        span: the values at the two ends of the colour scale.
    """

    title = "Layers over epochs"
    reading = (
        "A row is a layer, in the order in which the layers run; a column is an epoch at which it was "
        "measured, 0 before training. All columns rest on the same samples. Look for the epoch at which a "
        "layer settles, and whether the first layers settle before the last."
    )
    order = 15

    measure: str
    model: str
    layers: tuple[str, ...]
    epochs: tuple[int, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    span: tuple[float, float]

    @classmethod
    def prepare(
        cls,
        results: Result | Iterable[Result],
        *,
        measure: str | None = None,
        model: str | None = None,
        stratum: str = "all",
    ) -> EpochHeatmap:
        """The values of one training, from the results that a monitor has made of it.

        Args:
            results: `monitor.results.values()`, in any order; results of no epoch are left out.
            measure: a measure of the table; None takes the normalized variance or what comes first.
            model: which training, where there are several; None takes the first.
            stratum: "all", a class, or "mean".
        Raises:
            ValueError: no result that says its epoch, or no such measure, model or stratum.
        """
        trainings = _trainings(names.as_results(results))
        if not trainings:
            raise ValueError("no result says at which epoch it was measured: make them with iv.Monitor")
        model = names.choose("training", model, list(trainings))
        by_epoch = trainings[model]
        measure = names.choose("measure", measure, names.table_measures(list(by_epoch.values())))
        found = [names.rows_of(result, measure, stratum).set_index("label") for result in by_epoch.values()]
        layers = tuple(dict.fromkeys(label for rows in found for label in rows.index))
        if not layers:
            raise ValueError(f"no rows of {measure!r} for stratum {stratum!r}")
        value, low, high = (
            np.stack([rows[column].reindex(list(layers)).to_numpy(float) for rows in found], axis=1)
            for column in ("value", "ci_low", "ci_high")
        )
        return cls(measure, model, layers, tuple(by_epoch), value, low, high, shared_range([value]))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Every layered measure of every training with at least two epochs."""
        trainings = {name: list(found.values()) for name, found in _trainings(results).items()}
        several = {name: found for name, found in trainings.items() if len(found) > 1}
        measures = names.headline_first(
            m for found in several.values() for m in names.layered_measures(found)
        )
        return [
            View(_label(measure, name, len(several)), cls.prepare(found, measure=measure, model=name))
            for measure in measures
            for name, found in several.items()
            if measure in names.layered_measures(found)
        ]

    def draw(self, *, theme: str = "light") -> Figure:
        """The heat map, first layer on top, with a colour bar."""
        from invariscope.plots.shared import static

        rows, columns = self.value.shape
        size = min(14.0, 4.0 + 0.35 * columns), min(16.0, 1.6 + 0.26 * rows)
        figure, axes, colours = static.new_figure(*size, theme)
        ax = axes[0, 0]
        static.hatched(ax, -0.5, -0.5, columns, rows, colours)
        ax.imshow(
            np.ma.masked_invalid(self.value), cmap=static.COLOUR_MAP, norm=static.Normalize(*self.span),
            aspect="auto", interpolation="nearest", zorder=2,
        )  # fmt: skip
        ax.spines[:].set_visible(False)
        static.name_ticks(ax, self.layers, axis="y")
        ax.set_xticks(self.ticks, [str(self.epochs[place]) for place in self.ticks])
        static.axis_titles(ax, "epoch", "", colours)
        static.heading(ax, self.model, colours)
        static.colour_bar(figure, ax, self.span, names.measure_title(self.measure), colours)
        return figure

    def chart(self) -> UIElement:
        """The same, interactive: layer, epoch, value and interval under the pointer."""
        from invariscope.plots.shared import interactive as live

        rows, columns = self.value.shape
        chart = live.new_chart(height=90 + 20 * rows, min_width=max(300, min(900, 120 + 16 * columns)))
        chart.x_range, chart.y_range = live.fixed(-0.5, columns - 0.5), live.fixed(rows - 0.5, -0.5)
        chart.ygrid.visible = False
        bottom = [row - 0.47 for row in range(rows)]
        # A little smaller than the images, so that no hatch looks out behind them.
        inside = {"left": [-0.49] * rows, "right": [columns - 0.51] * rows}
        live.hatched(
            chart, {**inside, "bottom": [y + 0.03 for y in bottom], "top": [y + 0.91 for y in bottom]}
        )
        places = {"x": [-0.5] * rows, "y": bottom, "dw": [columns] * rows, "dh": [0.94] * rows}
        scale = live.colour_scale(self.span)
        images = live.strips(chart, [row[None] for row in self.value], places, self._columns(), scale)
        live.name_ticks(chart.yaxis[0], self.layers)
        chart.xaxis[0].ticker = list(self.ticks)
        chart.xaxis[0].major_label_overrides = {place: str(self.epochs[place]) for place in self.ticks}
        live.axis_title(chart.xaxis[0], "epoch")
        shown = {"layer": "@layer", "epoch": "@epoch", "value": "@image{0.000}", "95 %": "@interval"}
        live.hover(chart, [images], shown)
        live.colour_bar(chart, scale)
        return chart

    @property
    def ticks(self) -> list[int]:
        """The columns whose epoch is written below them: all, or some evenly."""
        step = -(-len(self.epochs) // CROWDED)
        return list(range(0, len(self.epochs), step))

    def _columns(self) -> dict[str, list]:
        """What a hover looks up: a value per row, or an image per row with a value per cell."""
        epochs = np.array([self.epochs], dtype=np.int32)
        intervals = [
            [[names.interval(*ends) for ends in zip(low, high, strict=True)]]
            for low, high in zip(self.low, self.high, strict=True)
        ]
        return {"layer": list(self.layers), "epoch": [epochs] * len(self.layers), "interval": intervals}


def _trainings(results: Sequence[Result]) -> dict[str, dict[int, Result]]:
    """Results by training and epoch, epochs in order; those that name no epoch are left out."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        training = result.provenance.get("training")
        if isinstance(training, dict) and isinstance(training.get("epoch"), int):
            found.setdefault(str(training.get("name")), {})[training["epoch"]] = result
    return {name: dict(sorted(by_epoch.items())) for name, by_epoch in found.items()}


def _label(measure: str, name: str, trainings: int) -> str:
    title = names.measure_title(measure)
    return f"{title} · {name}" if trainings > 1 else title
