"""A cell that measures a network, trained in another cell or with random weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from invariscope.recipes.kinds.base import Kind, Workshop, check_data, check_network
from invariscope.recipes.kinds.combined import combined
from invariscope.recipes.kinds.train import NETWORK, Train

if TYPE_CHECKING:
    from torch import nn

    from invariscope.result import Result
    from invariscope.zoo import ImageData

RESULT = "result"
_FEW, _MORE = 8, 24


@dataclass(frozen=True, kw_only=True)
class Measure(Kind):
    """Measures as `iv.measure` does.

    Args:
        model: a training cell; "CELL@K" is its network after epoch K. None: random weights.
        network, network_options: the architecture with random weights.
        data, split, samples: what is measured; None: all of the split. A subset is the first draw of `seed`.
        standardize: "own": by mean and deviation of the measured images; "trained": as the network's
            training did (with random weights: by the training images); "none".
        transform, measures: as in Python.
        layers: patterns; None: all.
        by_class: "no"; "same_pass": each class too, in the same pass; "separate": each class as a
            measurement of its own, standardised by its own images where they are to be.
        maps: strata whose per-unit maps are kept ("all", "mean", a class); None: all of them.
        precision, intervals, seed: as in `iv.measure`; the seed is also that of random weights.
        label: the model's name in figures.
    """

    data: str
    transform: str
    measures: list[str]
    model: str | None = None
    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)
    split: Literal["train", "test"] = "test"
    samples: int | None = None
    standardize: Literal["own", "trained", "none"] = "trained"
    layers: list[str] | None = None
    by_class: Literal["no", "same_pass", "separate"] = "no"
    maps: list[str] | None = None
    precision: Literal["float32", "float64", "bf16"] = "float32"
    intervals: bool = True
    seed: int = 0
    label: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The training cell."""
        return () if self.model is None else (self.model.partition("@")[0],)

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """What is measured, and what random weights would have been trained on."""
        trained = self.model is None and self.standardize == "trained"
        return tuple(dict.fromkeys([(self.data, self.split), *([(self.data, "train")] if trained else [])]))

    def check(self) -> None:
        """Measures, transform and network exist; exactly one model is named."""
        from invariscope.expressions import read_measures, read_transform

        if (self.model is None) == (self.network is None):
            raise ValueError(
                f"a measuring cell names a training cell as model or a network, not both; got "
                f"model={self.model!r}, network={self.network!r}"
            )
        if self.network is not None:
            check_network(self.network, self.network_options)
        check_data(self.data)
        read_transform(self.transform)
        read_measures(self.measures)

    def run(self, shop: Workshop) -> None:
        """Writes `result/`."""
        data = shop.data(self.data, self.split, self.samples, seed=self.seed)
        model, data = self._model(shop, data)
        result = self._measured(model, self._standardized(data), shop)
        if self.by_class == "separate":
            parts = {name: self._class(model, data, name, shop) for name in data.classes}
            result = combined(result, parts)
        if self.maps is not None:
            kept = {key: array for key, array in result.arrays.items() if key[2] in self.maps}
            result = replace(result, arrays=kept)
        result.save(shop.folder / RESULT)

    def _class(self, model: nn.Module, data: ImageData, name: str, shop: Workshop) -> Result:
        chosen = data.labels == data.classes.index(name)
        part = replace(data, images=data.images[chosen], labels=data.labels[chosen])
        return self._measured(model, self._standardized(part), shop)

    def _standardized(self, data: ImageData) -> ImageData:
        return data.standardized() if self.standardize == "own" else data

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
            label=self.label or self.model or self.network,
            progress=False,
        )

    def _model(self, shop: Workshop, data: ImageData) -> tuple[nn.Module, ImageData]:
        """The network, and the data as it takes them."""
        from invariscope import zoo

        if self.model is not None:
            cell, _, epoch = self.model.partition("@")
            place = shop.inputs[cell] / (f"{NETWORK}@{epoch}" if epoch else NETWORK)
            model, card = zoo.load_network(place)
            return model, card.prepared(data) if self.standardize == "trained" else data
        assert self.network is not None
        if self.standardize == "trained":
            training = shop.data(self.data, "train").standardized()
            data = data.standardized(training.mean, training.std)
        shape, classes = data.shape, len(data.classes)
        options = self.network_options
        model = zoo.build(self.network, input_shape=shape, classes=classes, seed=self.seed, **options)
        return model.eval(), data

    def rehearsal(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """A sample with its whole orbit."""
        network, options = self._architecture(other)
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

        network, options = self._architecture(other)
        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_MORE)
        model = zoo.build(network, input_shape=data.shape, classes=len(data.classes), **options).eval()
        shop, seconds = Workshop(Path(), Path()), []
        for count in (_FEW, _FEW, _MORE):
            started = time.perf_counter()
            self._measured(model, data.subset(count), shop)
            seconds.append(time.perf_counter() - started)
        return max(seconds[-1] - seconds[-2], 0.0) / (_MORE - _FEW)

    def _architecture(self, other: Mapping[str, Kind]) -> tuple[str, dict[str, Any]]:
        if self.network is not None:
            return self.network, self.network_options
        trained = other[self.needs[0]]
        assert isinstance(trained, Train)
        return trained.network, trained.network_options
