"""Filters drawn: as they started, as they are trained, and what was fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared.grid import PixelGrid, PixelRow, frame_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FilterImages:
    """Rows of the same filters, each filter on a scale of its own with 0 in the middle grey.

    It is drawn from weights, not from a result, and so has no place in a report.

    Args:
        filters: the numbers of the filters that are shown.
        rows: the images, in [0, 1].
    """

    filters: tuple[int, ...]
    rows: tuple[PixelRow, ...]

    @classmethod
    def prepare(
        cls, filters: Mapping[str, Any], *, details: Mapping[str, Any] | None = None, limit: int = 16
    ) -> FilterImages:
        """The same filters from several stages, with a number under each stage if there is one.

        Args:
            filters: {row: (filter, k, k)}, such as `{"start": fits.filters, "fit": fits.fitted}`.
            details: {row: remark}, such as `{"start": f"R² {fits.median_r2:.2f}"}`.
            limit: at most so many, evenly spread.
        Raises:
            ValueError: no row, rows of different numbers, or images of more than two axes.
        """
        arrays = {name: np.asarray(images, dtype=float) for name, images in filters.items()}
        counts = {name: images.shape for name, images in arrays.items()}
        if not arrays or any(images.ndim != 3 for images in arrays.values()):
            raise ValueError(f"each row is (filter, k, k), at least one; got {counts}: flatten (out, in).")
        if len({shape[0] for shape in counts.values()}) > 1:
            raise ValueError(f"the rows show the same filters, so as many each; got {counts}.")
        chosen = frame_choice(next(iter(counts.values()))[0], limit=limit)
        rows = [
            PixelRow(name, str((details or {}).get(name, "")), _centred(images[chosen]))
            for name, images in arrays.items()
        ]
        return cls(tuple(int(number) for number in chosen), tuple(rows))

    def grid(self) -> PixelGrid:
        """The rows under the filters' numbers."""
        return PixelGrid(tuple(str(number) for number in self.filters), self.rows)

    def draw(self, *, theme: str = "light") -> Figure:
        """The images as a matplotlib figure."""
        from invariscope.plots.shared.static import draw_grid

        return draw_grid(self.grid(), theme=theme)

    def save(self, path: str | Path, *, theme: str = "light") -> None:
        """Draws and writes the figure; the file's suffix (svg, pdf, png) gives the format."""
        self.draw(theme=theme).savefig(path)


def _centred(images: np.ndarray) -> np.ndarray:
    """Values in [0, 1], 0 at one half, each image's largest weight at an end."""
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    return 0.5 + 0.5 * np.divide(images, largest, out=np.zeros_like(images), where=largest > 0)
