"""Heat map of layers over epochs: how the value of every layer changes during training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ModelPlot, View, whole_plot
from invariscope.plots.shared.cells import shared_range
from invariscope.plots.shared.depth import shown_layers

if TYPE_CHECKING:
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

CROWDED = 12


@dataclass(frozen=True)
class EpochHeatmap(ModelPlot):
    """Heat map of one training run, with a row per layer and a column per measured epoch.

    Args:
        layers: the rows, in the order in which the layers run.
        epochs: the columns: completed epochs, 0 before training.
        value, low, high: (layer, epoch) values and interval limits; NaN for missing ones.
        span: the values at the two ends of the colour scale.
    """

    title = "Layers over epochs"
    reading = (
        "Each row is a layer, in the order in which layers run. Each column is a measured epoch; 0 is before "
        "training. All columns use the same samples. Look for the epoch at which a layer settles, and "
        "whether the first layers settle before the last."
    )
    order = 15

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
        layers: Sequence[str] | str | None = "auto",
    ) -> EpochHeatmap:
        """Collect the values of one training run from the results of a monitor.

        Args:
            results: `monitor.results.values()`, in any order; results without an epoch are left out.
            measure: a measure of the table; None for normalized variance if present, otherwise the first.
            model: name of the training run; None for the first.
            stratum: "all", a class, or "mean".
            layers: names or globs; None: all layers; "auto": all or, of more than 40, the outputs of blocks.
        Raises:
            ValueError: no result has an epoch, or none has this measure, model or stratum.
        """
        trainings = _trainings(names.as_results(results))
        if not trainings:
            raise ValueError("none of the results has an epoch: measure during training with iv.Monitor")
        model = names.choose("training run", model, list(trainings))
        by_epoch = trainings[model]
        measure = names.choose("measure", measure, names.table_measures(list(by_epoch.values())))
        found = [names.rows_of(result, measure, stratum).set_index("label") for result in by_epoch.values()]
        labels = list(dict.fromkeys(label for rows in found for label in rows.index))
        if not labels:
            raise ValueError(f"no rows of {measure!r} for stratum {stratum!r}; result.table lists the strata")
        labels = np.array(labels)[shown_layers(labels, layers)].tolist()
        value, low, high = (
            np.stack([rows[column].reindex(labels).to_numpy(float) for rows in found], axis=1)
            for column in ("value", "ci_low", "ci_high")
        )
        return cls(
            measure,
            model,
            tuple(labels),
            tuple(by_epoch),
            value,
            low,
            high,
            shared_range([value]),
            stratum=stratum,
        )

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per measure and training run, for runs with at least two epochs."""
        trainings = {name: list(found.values()) for name, found in _trainings(results).items()}
        several = {name: found for name, found in trainings.items() if len(found) > 1}
        measures = names.headline_first(
            m for found in several.values() for m in names.layered_measures(found)
        )
        return [
            View(
                names.of_model(names.measure_title(measure), name, len(several)),
                cls.prepare(found, measure=measure, model=name),
                whole_plot(cls.prepare, found, found, measure=measure, model=name),
            )
            for measure in measures
            for name, found in several.items()
            if measure in names.layered_measures(found)
        ]

    def paint(self, canvas: Canvas) -> None:
        """Draw the heat map, first layer on top, with a colour bar."""
        rows, columns = self.value.shape
        size = min(14.0, 4.0 + 0.35 * columns), min(6.6, 1.6 + 0.22 * rows)
        ax = canvas.panel(*size, rows=rows)
        canvas.draw_matrix(ax, self.value, self.layers, self.span)
        ax.set_xticks(self.ticks, [str(self.epochs[place]) for place in self.ticks])
        canvas.axis_titles(ax, "epoch", names.layer_axis(self.layers))
        canvas.heading(ax, self.model)
        canvas.colour_bar(ax, self.span, names.titled(self.measure, self.stratum), values=self.value)

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows layer, epoch, value and interval."""
        from invariscope.plots.shared import interactive as live
        from invariscope.plots.shared import layer_axis

        chart = live.new_chart(height=90 + (20 if len(self.layers) <= 60 else 8) * len(self.layers))
        scale = live.colour_scale(self.span)
        images = live.matrix(chart, self.value, self._columns(), scale)
        live.name_ticks(chart.yaxis[0], self.layers)
        layer_axis.name_prefix(chart.yaxis[0], self.layers)
        chart.xaxis[0].ticker = list(self.ticks)
        chart.xaxis[0].major_label_overrides = {place: str(self.epochs[place]) for place in self.ticks}
        live.axis_title(chart.xaxis[0], "epoch")
        shown = {"layer": "@layer", "epoch": "@epoch", "value": "@image{0.000}", "95 %": "@interval"}
        live.hover(chart, [images], shown)
        live.saved(images.data_source, {"layer": "layer", "epoch": "epoch", "value": "image"})
        layer_axis.pickable(chart, self.layers, axis="y")
        live.colour_bar(chart, scale)
        return chart

    @property
    def ticks(self) -> list[int]:
        """Return the columns that have a tick label: all, or an evenly spaced selection."""
        step = -(-len(self.epochs) // CROWDED)
        return list(range(0, len(self.epochs), step))

    def _columns(self) -> dict[str, list]:
        """Return the data shown on hover: per row of the map, one value or an image with a value per cell."""
        epochs = np.array([self.epochs], dtype=np.int32)
        intervals = [[names.intervals(*ends)] for ends in zip(self.low, self.high, strict=True)]
        return {"layer": list(self.layers), "epoch": [epochs] * len(self.layers), "interval": intervals}


def _trainings(results: Sequence[Result]) -> dict[str, dict[int, Result]]:
    """Return results by training run and epoch, in order; results without an epoch are left out."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        training = result.provenance.get("training")
        if isinstance(training, dict) and isinstance(training.get("epoch"), int):
            found.setdefault(str(training.get("name")), {})[training["epoch"]] = result
    return {name: dict(sorted(by_epoch.items())) for name, by_epoch in found.items()}
