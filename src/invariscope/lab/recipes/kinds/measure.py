"""A cell that measures a network under a transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.intervals import GROUPS, MIN_PER_GROUP, jackknife
from invariscope.lab.recipes.kinds.base import CellContext, Kind, about, transform_of
from invariscope.lab.recipes.kinds.combined import combined
from invariscope.lab.recipes.kinds.network_result import NetworkResult
from invariscope.results.rows import Row

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData


@dataclass(frozen=True, kw_only=True)
class MeasureCell(NetworkResult, name="measure"):
    """A measurement of a network, as in `iv.measure`.

    Args:
        transform, measures: Python expressions; "zoo.unit_displacements()" also works as a transform.
        layers: patterns of layers; None: all layers.
        channels: "apart", or "mean" to average feature maps over their channels, which leaves out layers
            without feature maps.
        by_class: "no"; "same_pass" to also measure each class, in the same pass; "separate" to measure each
            class in its own pass, standardised by its own images if `standardize` is "own".
        maps: strata whose per-unit maps are kept ("all", "mean", a class); None: all strata.
        map_layers: patterns of the layers whose maps are kept; None: all layers.
        illustrated: store the orbit of one sample, and feature maps along it, for figures.
        precision, intervals: as in `iv.measure`.
        tested: number of unchanged images of the split on which accuracy and error are measured, stored as
            `test.accuracy` and `test.error` of the output; 0: none.
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
        """Reject unknown measures and transforms, and too few images for an interval."""
        with about("transform", self.transform):
            transform_of(self.transform)
        _check_measures(tuple(self.measures))
        if self.tested and self.tested < GROUPS * MIN_PER_GROUP:
            raise ValueError(
                f"tested must be 0, or at least {GROUPS * MIN_PER_GROUP} for an interval; got "
                f"tested={self.tested}"
            )

    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure all images, and each class if requested."""
        from invariscope.studies.illustrate import illustrate

        result = self.measured(model, self.own_standard(data), context)
        if self.by_class == "separate":
            parts = {name: self._class(model, data, name, context) for name in data.classes}
            result = combined(result, parts)
        if self.tested:
            result = replace(result, rows=(*result.rows, *self._test_rows(model, context)))
        kept = {key: array for key, array in result.arrays.items() if self._keeps(*key[1:3])}
        if self.illustrated:
            images = self.own_standard(data)
            result = illustrate(result, model, images, transform_of(self.transform))
        return replace(result, arrays=kept)

    def _keeps(self, layer: str, stratum: str) -> bool:
        """Return whether the maps of a layer and stratum are kept."""
        return matches_any(self.map_layers, layer) and (self.maps is None or stratum in self.maps)

    def _test_rows(self, model: nn.Module, context: CellContext) -> list[Row]:
        """Return accuracy and error on unchanged images, with delete-a-group jackknife intervals."""
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
        """Measure the images in one pass."""
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
            rows="all",
        )

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count samples as units of work; a unit includes the whole orbit of the sample."""
        passes = 2 if self.by_class == "separate" else 1
        named = ("transform", "measures", "by_class", "precision", "channels")
        return self.units_of(other, *named, passes=passes)


@cache  # hundreds of cells have the same measures
def _check_measures(texts: tuple[str, ...]) -> None:
    from invariscope.catalog.expressions import read_measures
    from invariscope.measures.base import as_measures

    for text in texts:
        with about("measures", text):
            read_measures([text])
    with about("measures"):
        as_measures(read_measures(list(texts)))


def _share_row(name: str, shares: np.ndarray, sizes: np.ndarray) -> Row:
    """Return the row of a proportion, from the proportions in groups of samples."""
    hits = shares * sizes
    omitted = (hits.sum() - hits) / (sizes.sum() - sizes)
    value = float(hits.sum() / sizes.sum())
    interval = jackknife(value, omitted.tolist(), sizes.tolist())
    return Row(
        measure=f"test.{name}", layer="output", call=0, stratum="all", value=value,
        **interval.within(0.0, 1.0).columns, samples=int(sizes.sum()), elements=1,
        replicates=omitted.tolist(), group_sizes=sizes.tolist(),
    )  # fmt: skip
