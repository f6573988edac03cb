"""A cell that measures a network under a transform."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from invariscope.recipes.kinds.base import Kind, Workshop
from invariscope.recipes.kinds.combined import combined
from invariscope.recipes.kinds.looking import Looking

if TYPE_CHECKING:
    from torch import nn

    from invariscope.result import Result
    from invariscope.zoo import ImageData

_FEW, _MORE = 8, 24


@dataclass(frozen=True, kw_only=True)
class Measure(Looking):
    """Measures as `iv.measure` does.

    Args:
        transform, measures: as in Python.
        layers: patterns; None: all.
        by_class: "no"; "same_pass": each class too, in the same pass; "separate": each class as a
            measurement of its own, standardised by its own images where they are to be.
        maps: strata whose per-unit maps are kept ("all", "mean", a class); None: all of them.
        precision, intervals: as in `iv.measure`.
    """

    transform: str
    measures: list[str]
    layers: list[str] | None = None
    by_class: Literal["no", "same_pass", "separate"] = "no"
    maps: list[str] | None = None
    precision: Literal["float32", "float64", "bf16"] = "float32"
    intervals: bool = True

    def check(self) -> None:
        """Measures, transform and network exist; exactly one model is named."""
        from invariscope.expressions import read_measures, read_transform

        super().check()
        read_transform(self.transform)
        read_measures(self.measures)

    def look(self, model: nn.Module, data: ImageData, shop: Workshop) -> Result:
        """Over all images, and class by class where asked for."""
        result = self._measured(model, self.own_standard(data), shop)
        if self.by_class == "separate":
            parts = {name: self._class(model, data, name, shop) for name in data.classes}
            result = combined(result, parts)
        if self.maps is None:
            return result
        kept = {key: array for key, array in result.arrays.items() if key[2] in self.maps}
        return replace(result, arrays=kept)

    def _class(self, model: nn.Module, data: ImageData, name: str, shop: Workshop) -> Result:
        chosen = data.labels == data.classes.index(name)
        part = replace(data, images=data.images[chosen], labels=data.labels[chosen])
        return self._measured(model, self.own_standard(part), shop)

    def _measured(self, model: nn.Module, data: ImageData, shop: Workshop) -> Result:
        from invariscope.engine.api import measure
        from invariscope.expressions import read_measures, read_transform

        shop.log(f"measuring {len(data):,} samples of {data.name}")
        return measure(
            model,
            data,
            read_transform(self.transform),
            measures=read_measures(self.measures),
            layers=self.layers,
            by_class=self.by_class == "same_pass",
            precision=self.precision,
            intervals=self.intervals,
            seed=self.seed,
            label=self.named,
            progress=False,
        )

    def rehearsal(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """A sample with its whole orbit."""
        network, options = self.architecture(other)
        signature = (
            self.data,
            network,
            options,
            self.transform,
            self.measures,
            self.by_class,
            self.precision,
        )
        passes = 2 if self.by_class == "separate" else 1
        return ("measure", *map(str, signature)), float(passes * (self.samples or 10000))

    def rehearse(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """The difference between many samples and few, which leaves out what is done once."""
        from invariscope import zoo

        network, options = self.architecture(other)
        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_MORE)
        model = zoo.build(network, input_shape=data.shape, classes=len(data.classes), **options).eval()
        shop, seconds = Workshop(Path(), Path()), []
        for count in (_FEW, _FEW, _MORE):
            started = time.perf_counter()
            self._measured(model, data.subset(count), shop)
            seconds.append(time.perf_counter() - started)
        return max(seconds[-1] - seconds[-2], 0.0) / (_MORE - _FEW)
