"""The most and the least invariant feature maps, along a real orbit."""

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
        layer: where it is read.
        channel: its number.
        value: its measured value, NaN if the result has no map for it.
        frames: (m, h, w), stretched to [0, 1] over the whole orbit, so that frames compare.
    """

    rank: str
    layer: str
    channel: int
    value: float
    frames: np.ndarray


@dataclass(frozen=True)
class FeatureOrbits(GridPlot):
    """Feature maps that the transformation moves least and most, under the input that caused them.

    Args:
        measure: what ranked them.
        strip: the input's orbit; None if the result has none.
        features: the most invariant ones first.
    """

    title = "Feature maps along the orbit"
    reading = (
        "Under the input, the feature maps with the lowest and the highest value of a layer. A map can be "
        "invariant unit by unit only if its picture stays where it is; one that turns with the input is "
        "equivariant instead. Brightness is shared along a row."
    )
    order = 80

    measure: str
    strip: OrbitStrip | None
    features: tuple[FeatureRow, ...]

    @classmethod
    def prepare(cls, result: Result, *, measure: str | None = None) -> FeatureOrbits:
        """The feature maps that the result carries as examples.

        Args:
            result: one result.
            measure: whose values to quote; None takes the normalized variance or what comes first.
        Raises:
            ValueError: it carries none.
        """
        found = [key for key in result.examples if key.startswith(PREFIX)]
        if not found:
            raise ValueError("the result carries no feature maps as examples; its layers may have none")
        measures = names.map_measures(result)
        measure = names.choose("measure", measure, measures) if measure or measures else ""
        rows = [_feature(result, key, measure) for key in found]
        strip = OrbitStrip.prepare(result) if EXAMPLE in result.examples else None
        return cls(measure, strip, tuple(sorted(rows, key=lambda row: row.rank != "most")))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """One per result that carries feature maps."""
        return [
            View(name, cls.prepare(result))
            for name, result in zip(names.model_names(results), results, strict=True)
            if any(key.startswith(PREFIX) for key in result.examples)
        ]

    def grid(self) -> PixelGrid:
        """The input's row, then a row per feature map."""
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
