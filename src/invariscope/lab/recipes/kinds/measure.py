"""A cell that measures a network under a transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.intervals import GROUPS, MIN_PER_GROUP, jackknife
from invariscope.lab.recipes.kinds.base import CellContext, Kind, about, transform_of
from invariscope.lab.recipes.kinds.combined import combined
from invariscope.lab.recipes.kinds.network_result import NetworkResult

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData


@dataclass(frozen=True, kw_only=True)
class MeasureCell(NetworkResult, name="measure"):
    """Measures as `iv.measure` does.

    Args:
        transform, measures: as in Python; a transform is also "zoo.unit_displacements()".
        layers: patterns; None: all.
        channels: "apart" as they are, or the "mean" of all channels in place of each feature map; layers
            without feature maps are then left out.
        by_class: "no"; "same_pass": each class too, in the same pass; "separate": each class as a
            measurement of its own, standardised by its own images where they are to be.
        maps: strata whose per-unit maps are kept ("all", "mean", a class); None: all of them.
        map_layers: patterns of the layers whose maps are kept; None: all of them.
        illustrated: the result also holds one sample's orbit, and feature maps along it, for figures.
        precision, intervals: as in `iv.measure`.
        tested: so many images of the split, as they are, for the share of right and of wrong answers, which
            the result holds as `test.accuracy` and `test.error` of the output; 0: none.
    """

    transform: str
    measures: list[str]
    layers: list[str] | None = None
    channels: Literal["apart", "mean"] = "apart"
    by_class: Literal["no", "same_pass", "separate"] = "no"
    maps: list[str] | None = None
    map_layers: list[str] | None = None
    illustrated: bool = False
    precision: Literal["float32", "float64", "bf16"] = "float32"
    intervals: bool = True
    tested: int = 0

    def check_own(self) -> None:
        """Measures and transform exist."""
        from invariscope.catalog.expressions import read_measures
        from invariscope.measures.base import as_measures

        with about("transform", self.transform):
            transform_of(self.transform)
        for text in self.measures:
            with about("measures", text):
                read_measures([text])
        with about("measures"):
            as_measures(read_measures(self.measures))
        if self.tested and self.tested < GROUPS * MIN_PER_GROUP:
            raise ValueError(
                f"tested is 0, or at least {GROUPS * MIN_PER_GROUP} for an interval; got tested={self.tested}"
            )

    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure all images, and class by class if asked for."""
        from invariscope.studies.illustrate import illustrate

        result = self.measured(model, self.own_standard(data), context)
        if self.by_class == "separate":
            parts = {name: self._class(model, data, name, context) for name in data.classes}
            result = combined(result, parts)
        if self.tested:
            result = replace(result, rows=(*result.rows, *self._right_and_wrong(model, context)))
        kept = {key: array for key, array in result.arrays.items() if self._keeps(*key[1:3])}
        if self.illustrated:
            images = self.own_standard(data)
            result = illustrate(result, model, images, transform_of(self.transform))
        return replace(result, arrays=kept)

    def _keeps(self, layer: str, stratum: str) -> bool:
        """Whether the maps of that layer and stratum are kept."""
        return matches_any(self.map_layers, layer) and (self.maps is None or stratum in self.maps)

    def _right_and_wrong(self, model: nn.Module, context: CellContext) -> list[dict[str, Any]]:
        """Rows for the answers to upright images; the intervals leave out an eighth of the images in turn."""
        from invariscope import zoo

        images = self.own_standard(self.prepared(context, self.tested)[1])
        parts = [(images.images[g::GROUPS], images.labels[g::GROUPS]) for g in range(GROUPS)]
        right = np.array([zoo.evaluate(model, part) for part in parts])
        sizes = np.array([len(labels) for _, labels in parts])
        return [_share_row("accuracy", right, sizes), _share_row("error", 1 - right, sizes)]

    def _class(self, model: nn.Module, data: ImageData, name: str, context: CellContext) -> Result:
        chosen = data.labels == data.classes.index(name)
        part = replace(data, images=data.images[chosen], labels=data.labels[chosen])
        return self.measured(model, self.own_standard(part), context)

    def measured(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure in one pass."""
        from invariscope.catalog.expressions import read_measures
        from invariscope.engine.api import measure
        from invariscope.readers.channel_mean import ChannelMean

        context.log(f"measuring {len(data):,} samples of {data.name}")
        averaged = self.channels == "mean"
        return measure(
            ChannelMean(model, layers=self.layers) if averaged else model,
            data,
            transform_of(self.transform),
            measures=read_measures(self.measures),
            layers=None if averaged else self.layers,
            by_class=self.by_class == "same_pass",
            precision=self.precision,
            intervals=self.intervals,
            seed=self.seed,
            label=self.named,
            progress=False,
        )

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Return a sample with its whole orbit."""
        passes = 2 if self.by_class == "separate" else 1
        named = ("transform", "measures", "by_class", "precision", "channels")
        return self.units_of(other, *named, passes=passes)


def _share_row(name: str, shares: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    """A row of a share, from the shares in groups of samples."""
    hits = shares * sizes
    omitted = (hits.sum() - hits) / (sizes.sum() - sizes)
    value = float(hits.sum() / sizes.sum())
    interval = jackknife(value, omitted.tolist(), sizes.tolist())
    return {
        "measure": f"test.{name}", "layer": "output", "call": 0, "stratum": "all", "value": value,
        **interval.within(0.0, 1.0).columns, "samples": int(sizes.sum()), "elements": 1,
        "replicates": omitted.tolist(), "group_sizes": sizes.tolist(),
    }  # fmt: skip
