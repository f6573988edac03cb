"""One sample's orbit as a strip of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import GridPlot, View
from invariscope.plots.shared.grid import PixelGrid, PixelRow, element_labels, frame_choice, picture

if TYPE_CHECKING:
    from invariscope.results.result import Result

EXAMPLE = "orbit"


@dataclass(frozen=True)
class OrbitStrip(GridPlot):
    """Images of one input under each element of the transform.

    Args:
        frames: values in [0, 1], (m, H, W) or (m, H, W, 3).
        labels: one per frame.
        elements: number of elements of the transform; frames may show an evenly spaced subset of them.
    """

    title = "Inputs of the network"
    reading = "One sample under the elements of the transform."
    order = 70
    single = True

    frames: np.ndarray
    labels: tuple[str, ...]
    elements: int

    @classmethod
    def prepare(cls, result: Result) -> OrbitStrip:
        """Collect the example orbit of the result.

        Args:
            result: a result of images; several are drawn beside each other.
        Raises:
            ValueError: the result has no example orbit (the data are not images, or it was not kept).
        """
        if EXAMPLE not in result.examples:
            raise ValueError("the result has no example orbit; its data may not be images")
        images = picture(result.examples[EXAMPLE])
        chosen = frame_choice(len(images))
        labels = element_labels(result.provenance.get("transform", {}).get("labels"), len(images))
        return cls(images[chosen], tuple(labels[i] for i in chosen), len(images))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per distinct orbit; results on the same data share one."""
        named = [
            (name, cls.prepare(result))
            for name, result in zip(names.model_names(results), results, strict=True)
            if EXAMPLE in result.examples
        ]
        distinct = [
            (name, plot)
            for i, (name, plot) in enumerate(named)
            if not any(plot.same(p) for _, p in named[:i])
        ]
        return [View(name if len(distinct) > 1 else "", plot) for name, plot in distinct]

    def same(self, other: OrbitStrip) -> bool:
        """Return whether two strips show the same images."""
        return self.labels == other.labels and np.array_equal(self.frames, other.frames)

    def grid(self) -> PixelGrid:
        """Return one row of images."""
        detail = (
            "" if len(self.frames) == self.elements else f"{len(self.frames)} of {self.elements} elements"
        )
        return PixelGrid(self.labels, (PixelRow("input", detail, self.frames),))
