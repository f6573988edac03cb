"""Images of filters: initial, trained, and fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared.base import Drawing
from invariscope.plots.shared.grid import PixelGrid, PixelRow, frame_choice

if TYPE_CHECKING:
    from invariscope.plots.shared.canvas import Canvas


@dataclass(frozen=True)
class FilterImages(Drawing):
    """Images of the same filters in each row, each on its own scale with 0 shown as mid-grey.

    The figure is made from weights, not from a result, so it is not part of reports.

    Args:
        filters: numbers of the filters shown.
        rows: the images, in [0, 1].
    """

    filters: tuple[int, ...]
    rows: tuple[PixelRow, ...]

    @classmethod
    def prepare(
        cls, filters: Mapping[str, Any], *, details: Mapping[str, Any] | None = None, limit: int = 16
    ) -> FilterImages:
        """Collect the same filters from several stages.

        Args:
            filters: {row: (filter, k, k)}, such as `{"start": fits.filters, "fit": fits.fitted}`.
            details: {row: remark}, such as `{"start": f"R² {fits.median_r2:.2f}"}`.
            limit: maximum number of filters, which are evenly spaced.
        Raises:
            ValueError: no rows, rows with different numbers of filters, or images without two axes.
        """
        arrays = {name: np.asarray(images, dtype=float) for name, images in filters.items()}
        counts = {name: images.shape for name, images in arrays.items()}
        if not arrays or any(images.ndim != 3 for images in arrays.values()):
            raise ValueError(
                f"filters must map rows to (filter, k, k) arrays, got {counts}: merge the axes (out, in)."
            )
        if len({shape[0] for shape in counts.values()}) > 1:
            raise ValueError(f"all rows must hold the same filters, but their numbers differ: {counts}.")
        chosen = frame_choice(next(iter(counts.values()))[0], limit=limit)
        rows = [
            PixelRow(name, str((details or {}).get(name, "")), _centred(images[chosen]))
            for name, images in arrays.items()
        ]
        return cls(tuple(int(number) for number in chosen), tuple(rows))

    def grid(self) -> PixelGrid:
        """Return the rows of images, with filter numbers as column labels."""
        return PixelGrid(tuple(str(number) for number in self.filters), self.rows, "filter")

    def paint(self, canvas: Canvas) -> None:
        """Draw the images."""
        canvas.draw_grid(self.grid())


def _centred(images: np.ndarray) -> np.ndarray:
    """Scale each image to [0, 1], with 0 at 0.5 and the weight of largest magnitude at 0 or 1."""
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    return 0.5 + 0.5 * np.divide(images, largest, out=np.zeros_like(images), where=largest > 0)
