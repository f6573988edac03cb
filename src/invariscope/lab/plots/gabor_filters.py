"""Large filters at stages of training, each above its best-fitting Gabor function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.lab.plots.filter_images import FilterImages
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import GridPlot, View

if TYPE_CHECKING:
    from invariscope.plots.shared.grid import PixelGrid
    from invariscope.results.result import Result

FILTERS, FITTED, R2 = "gabor.filters", "gabor.fitted", "gabor.r2"


@dataclass(frozen=True)
class GaborFilters(GridPlot):
    """The same filters of a layer at each stage, with their Gabor fits.

    Args:
        layer: layer of the filters.
        images: two rows per stage: the filters and their fits.
    """

    title = "Large filters and Gabor functions"
    reading = (
        "Each column is a filter, on its own scale with 0 as mid-grey. Below each row of filters are "
        "their best-fitting Gabor functions, with the median proportion of variance explained."
    )
    order = 68
    single = True

    layer: str
    images: FilterImages

    @classmethod
    def prepare(cls, result: Result, *, layer: str | None = None, limit: int = 12) -> GaborFilters:
        """Collect the filters of one layer at all stages, the trained ones last.

        Args:
            result: a result with "gabor.filters" maps, from a "weights" cell of a recipe; several are drawn
                beside each other.
            layer: layer of the filters; None: the first layer with such maps.
            limit: maximum number of filters, which are evenly spaced.
        Raises:
            ValueError: the result has no such maps, or none for the layer.
        """
        keys = [key for key in result.arrays if key[0] == FILTERS]
        layer = names.choose("layer with Gabor fits", layer, list(dict.fromkeys(key[1] for key in keys)))
        rows, details = {}, {}
        for _, _, stratum, _ in (key for key in keys if key[1] == layer):
            stage = "trained" if stratum == "all" else stratum
            rows[stage] = result.maps[FILTERS, layer, stratum]
            rows[f"{stage}, fit"] = result.maps[FITTED, layer, stratum]
            details[f"{stage}, fit"] = f"R² {np.nanmedian(result.maps[R2, layer, stratum]):.2f}"
        return cls(layer, FilterImages.prepare(rows, details=details, limit=limit))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per result and layer with Gabor fits."""
        return [
            View(f"{layer} · {name}" if len(results) > 1 else layer, cls.prepare(result, layer=layer))
            for name, result in zip(names.model_names(results), results, strict=True)
            for layer in dict.fromkeys(key[1] for key in result.arrays if key[0] == FILTERS)
        ]

    def grid(self) -> PixelGrid:
        """Return the images, with filter numbers as column labels."""
        return self.images.grid()
