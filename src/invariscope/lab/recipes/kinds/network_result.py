"""What all cells share that look at a network: which one, and at which images."""

from __future__ import annotations

import abc
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind, check_data, check_network
from invariscope.lab.recipes.kinds.train import network_after

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData

RESULT = "result"
_FEW, _MORE = 8, 24


@dataclass(frozen=True, kw_only=True)
class NetworkResult(Kind):
    """A cell whose outcome is a result about a network, trained in another cell or with random weights.

    Args:
        model: a cell that trains; "CELL@K" is its network after epoch K, which it must keep; "CELL@0", the
            network before training, is built again if it was not kept. None: random weights.
        network, network_options: the architecture with random weights.
        data, split, samples: what is looked at; None: all of the split. A subset is the first draw of `seed`.
        corruption: what is done to the images before they are standardised, such as "blur:3"; None: nothing.
        standardize: "own": by mean and deviation of these images; "trained": as the network's training did
            (with random weights: by the training images); "none".
        normalization: statistics of batch normalisation: "stored" ones, which at the start of a training
            normalise nothing, or "calibrated" on the first images that are looked at.
        shuffled: seed under which each convolution's input channels are permuted, before any calibration;
            None: they stay.
        averaged: a transform over whose orbit the network's outputs are averaged (`iv.OrbitAverage`), the
            last of the changes; layers within it have no samples of their own. None: as it is.
        seed: of the draws, of the subset and of random weights.
        label: the model's name in figures.
    """

    gives: ClassVar[Literal["network", "result"]] = "result"

    data: str
    model: str | None = None
    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)
    split: Literal["train", "test"] = "test"
    samples: int | None = None
    corruption: str | None = None
    standardize: Literal["own", "trained", "none"] = "trained"
    normalization: Literal["stored", "calibrated"] = "stored"
    shuffled: int | None = None
    averaged: str | None = None
    seed: int = 0
    label: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The training cell."""
        return () if self.model is None else (self.model.partition("@")[0],)

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """What is looked at, and what random weights would have been trained on."""
        trained = self.model is None and self.standardize == "trained"
        return tuple(dict.fromkeys([(self.data, self.split), *([(self.data, "train")] if trained else [])]))

    @property
    def named(self) -> str:
        """What the result calls the model."""
        return self.label or self.model or self.network or ""

    def check(self) -> None:
        """Network, data set, corruption and transform exist; exactly one model is named."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.zoo.corruptions import read_corruption

        if (self.model is None) == (self.network is None):
            raise ValueError(
                f"a cell names a training cell as model or a network, not both; got model={self.model!r}, "
                f"network={self.network!r}"
            )
        if self.network is not None:
            check_network(self.network, self.network_options)
        epoch = (self.model or "").partition("@")[2]
        if epoch and not epoch.isdigit():
            raise ValueError(f"what follows @ is an epoch, such as 'CELL@0'; got model={self.model!r}")
        check_data(self.data)
        if self.corruption is not None:
            read_corruption(self.corruption)
        if self.averaged is not None:
            read_transform(self.averaged)

    def run(self, context: CellContext) -> None:
        """Writes `result/`."""
        model, data = self._model(context, self.images(context, self.samples))
        self.look(self._changed(model.to(context.device), data), data, context).save(context.folder / RESULT)

    def images(self, context: CellContext, samples: int | None) -> ImageData:
        """So many images, corrupted where that is asked for, not yet standardised."""
        from invariscope import zoo

        data = context.data(self.data, self.split, samples, seed=self.seed)
        return data if self.corruption is None else zoo.corrupted(data, self.corruption, seed=self.seed)

    def _changed(self, model: nn.Module, data: ImageData) -> nn.Module:
        """The network with channels shuffled, normalisation calibrated and outputs averaged, as asked for."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.variants.calibrated import calibrated
        from invariscope.variants.orbit_average import OrbitAverage
        from invariscope.weights import shuffled_channels

        if self.shuffled is not None:
            model = shuffled_channels(model, seed=self.shuffled)
        if self.normalization == "calibrated":
            model = calibrated(model, self.own_standard(data), seed=self.seed)
        return model if self.averaged is None else OrbitAverage(model, read_transform(self.averaged))

    @abc.abstractmethod
    def look(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """What is found, with the data standardised unless by its "own" statistics."""

    def own_standard(self, data: ImageData) -> ImageData:
        """The images, standardised where that is to be by their own mean and deviation."""
        return data.standardized() if self.standardize == "own" else data

    def architecture(self, other: Mapping[str, Kind]) -> tuple[str, dict[str, Any]]:
        """Name and options of the network."""
        if self.network is not None:
            return self.network, self.network_options
        trained: Any = other[self.needs[0]]
        return trained.network, trained.network_options

    def seconds_per_sample(
        self,
        other: Mapping[str, Kind],
        data_dir: Path | None,
        look: Callable[[nn.Module, ImageData, CellContext], Any],
    ) -> float:
        """For a rehearsal: many samples less few, which leaves out what is done once."""
        from invariscope import zoo

        network, options = self.architecture(other)
        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_MORE)
        model = zoo.build(network, input_shape=data.shape, classes=len(data.classes), **options).eval()
        context, seconds = CellContext(Path(), Path()), []
        for count in (_FEW, _FEW, _MORE):
            started = time.perf_counter()
            few = data.subset(count)
            look(self._changed(copy.deepcopy(model), few), few, context)
            seconds.append(time.perf_counter() - started)
        return max(seconds[-1] - seconds[-2], 0.0) / (_MORE - _FEW)

    def _model(self, context: CellContext, data: ImageData) -> tuple[nn.Module, ImageData]:
        """The network, and the data as it takes them."""
        from invariscope import zoo

        if self.model is not None:
            cell, _, epoch = self.model.partition("@")
            model, card = network_after(context.inputs[cell], int(epoch) if epoch else None)
            return model, card.prepared(data) if self.standardize == "trained" else data
        assert self.network is not None
        if self.standardize == "trained":
            training = context.data(self.data, "train").standardized()
            data = data.standardized(training.mean, training.std)
        shape, classes = data.shape, len(data.classes)
        options = self.network_options
        model = zoo.build(self.network, input_shape=shape, classes=classes, seed=self.seed, **options)
        return model.eval(), data
