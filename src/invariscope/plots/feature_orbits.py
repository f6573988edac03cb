"""The most and the least invariant feature maps along an example orbit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.orbit_strip import EXAMPLE, OrbitStrip
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import GridPlot, View
from invariscope.plots.shared.cells import cells
from invariscope.plots.shared.grid import PixelGrid, PixelRow, frame_choice, stretch

if TYPE_CHECKING:
    from invariscope.results.result import Result

PREFIX = "feature:"


@dataclass(frozen=True)
class FeatureRow:
    """One feature map along the orbit.

    Args:
        rank: "most" or "least" (invariant).
        layer: the layer.
        channel: index of the feature map.
        value: the measured value; NaN if the result has no map for it.
        frames: (m, h, w), rescaled to [0, 1] jointly over the orbit, so that frames are comparable.
    """

    rank: str
    layer: str
    channel: int
    value: float
    frames: np.ndarray


@dataclass(frozen=True)
class FeatureOrbits(GridPlot):
    """Feature maps that the transformation changes least and most, shown below their input.

    Args:
        measure: the measure that ranked them.
        strip: the input's orbit; None if the result has none.
        features: the feature maps, most invariant first.
    """

    title = "Feature maps along the orbit"
    reading = (
        "Below the input are a layer's feature maps with the lowest and the highest value. A map is "
        "invariant unit by unit only if its image does not change; a map that turns with the input is "
        "equivariant instead. All images of a row share one brightness scale."
    )
    order = 80
    single = True

    measure: str
    strip: OrbitStrip | None
    features: tuple[FeatureRow, ...]

    @classmethod
    def prepare(cls, result: Result, *, measure: str | None = None) -> FeatureOrbits:
        """Collect the example feature maps of the result.

        Args:
            result: a result; several are drawn beside each other.
            measure: the measure whose values are shown; None for normalized variance if present, otherwise
                the first.
        Raises:
            ValueError: the result has no example feature maps.
        """
        found = [key for key in result.examples if key.startswith(PREFIX)]
        if not found:
            raise ValueError("the result has no example feature maps; its layers may not be feature maps")
        measures = names.map_measures(result)
        measure = names.choose("measure", measure, measures) if measure or measures else ""
        rows = [_feature(result, key, measure) for key in found]
        strip = OrbitStrip.prepare(result) if EXAMPLE in result.examples else None
        return cls(measure, strip, tuple(sorted(rows, key=lambda row: row.rank != "most")))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per result with feature maps."""
        return [
            View(name, cls.prepare(result))
            for name, result in zip(names.model_names(results), results, strict=True)
            if any(key.startswith(PREFIX) for key in result.examples)
        ]

    @property
    def row_layers(self) -> tuple[str, ...]:
        """Return the layer of each row of the grid; "" for the input."""
        return (*([""] if self.strip else []), *(feature.layer for feature in self.features))

    def grid(self) -> PixelGrid:
        """Return a row for the input, followed by a row per feature map."""
        rows = [_pixel_row(feature) for feature in self.features]
        if self.strip is None:
            return PixelGrid(tuple(str(i) for i in range(len(rows[0].frames))), tuple(rows))
        return PixelGrid(self.strip.labels, (*self.strip.grid().rows, *rows))


def _feature(result: Result, key: str, measure: str) -> FeatureRow:
    rank, rest = key[len(PREFIX) :].split(":", 1)
    # A layer's name may itself contain colons; the channel never does.
    layer, channel = rest.rsplit(":", 1)
    frames = stretch(result.examples[key])
    return FeatureRow(
        rank,
        layer,
        int(channel),
        _value(result, measure, layer, int(channel)),
        frames[frame_choice(len(frames))],
    )


def _value(result: Result, measure: str, layer: str, channel: int) -> float:
    if (measure, layer, "all", 0) not in result.maps:
        return float("nan")
    values = cells(layer, result.maps[measure, layer], limit=0).values
    return float(values[channel]) if channel < len(values) else float("nan")


def _pixel_row(feature: FeatureRow) -> PixelRow:
    value = "" if np.isnan(feature.value) else f" · {names.number(feature.value)}"
    label = f"{feature.layer} · {feature.channel}"
    return PixelRow(label, f"{feature.rank} invariant{value}", feature.frames, colour="viridis")
