"""The base class of cells that measure a network on images."""

from __future__ import annotations

import abc
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind, architecture, check_data, check_one_model
from invariscope.lab.recipes.kinds.training import network_after

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData

RESULT = "result"
_FEW, _MORE = 8, 24


@dataclass(frozen=True, kw_only=True)
class NetworkResult(Kind):
    """A cell that measures a network trained in another cell, or one with random weights.

    Args:
        model: a training cell; "CELL@K" is its network after epoch K, which that cell must keep;
            "CELL@0", the network before training, is rebuilt if it was not kept. None: random weights.
        network, network_options: the architecture, if the weights are random.
        data, split, samples: the images; samples = None: the whole split. A subset is drawn with `seed`.
        corruption: applied to the images before they are standardised, such as "blur:3"; None: none.
        standardize: "own": by the mean and standard deviation of these images; "trained": as in the network's
            training (with random weights: by the training images); "none".
        normalization: statistics of batch normalisation: "stored", which have no effect before training, or
            "calibrated" on the first images.
        shuffled: seed of a permutation of each convolution's input channels, applied before calibration;
            None: no permutation.
        averaged: a transform over whose orbit the outputs of the network are averaged (`iv.OrbitAverage`),
            after all other changes; inner layers then process whole orbits instead of samples. None: no
            averaging.
        seed: seed of the draws, the subset and random weights.
        label: the name of the model in figures.
    """

    takes_epochs: ClassVar[bool] = True

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
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The measured split, and the training split if it standardises images for random weights."""
        trained = self.model is None and self.standardize == "trained"
        return tuple(dict.fromkeys([(self.data, self.split), *([(self.data, "train")] if trained else [])]))

    @property
    def named(self) -> str:
        """The name of the model in the result."""
        return self.label or self.model or self.network or ""

    @abc.abstractmethod
    def check_own(self) -> None:
        """Reject invalid options of this kind."""

    @abc.abstractmethod
    def measured(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure the network on standardised data."""

    @abc.abstractmethod
    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Return the complete result of the cell: the measurement, and what the kind adds to it.

        Args:
            model: the network.
            data: the images, standardised unless `standardize` is "own".
            context: the environment.
        """

    def check(self) -> None:
        """Reject unknown networks, data sets, corruptions and transforms; require exactly one model."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.zoo.corruptions import read_corruption

        check_one_model(self.model, self.network, self.network_options)
        epoch = (self.model or "").partition("@")[2]
        if epoch and not epoch.isdigit():
            raise ValueError(f"@ must be followed by an epoch, such as 'CELL@0'; got model={self.model!r}")
        check_data(self.data)
        if self.corruption is not None:
            read_corruption(self.corruption)
        if self.averaged is not None:
            read_transform(self.averaged)
        self.check_own()

    def run(self, context: CellContext) -> None:
        """Write `result/`."""
        model, data = self.prepared(context, self.samples)
        model = self._changed(model.to(context.device), data)
        self.whole_result(model, data, context).save(context.folder / RESULT)

    def prepared(self, context: CellContext, samples: int | None) -> tuple[nn.Module, ImageData]:
        """Return the network and this number of images, corrupted and standardised as in the options."""
        from invariscope import zoo

        data = context.data(self.data, self.split, samples, seed=self.seed)
        if self.corruption is not None:
            data = zoo.corrupted(data, self.corruption, seed=self.seed)
        if self.model is not None:
            cell, _, epoch = self.model.partition("@")
            model, card = network_after(context.inputs[cell], int(epoch) if epoch else None)
            return model, card.prepared(data) if self.standardize == "trained" else data
        if self.standardize == "trained":
            training = context.data(self.data, "train").standardized()
            data = data.standardized(training.mean, training.std)
        return _built((str(self.network), self.network_options), data, self.seed), data

    def own_standard(self, data: ImageData) -> ImageData:
        """Return the images, standardised by their own statistics if `standardize` is "own"."""
        return data.standardized() if self.standardize == "own" else data

    def units_of(self, other: Mapping[str, Kind], *options: str, passes: int = 1) -> tuple[Any, float]:
        """Return `cost_units` for samples, whose cost depends on the network, the data and these options."""
        named = (self.data, *architecture(self, other), *(getattr(self, name) for name in options))
        return (type(self).__name__.lower(), *map(str, named)), float(passes * (self.samples or 10000))

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Time a few samples and then more; the difference excludes work that is done only once."""
        from invariscope import zoo

        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_MORE)
        model = _built(architecture(self, other), data, 0)
        context, seconds = CellContext(Path(), Path()), []
        for count in (_FEW, _FEW, _MORE):
            started = time.perf_counter()
            few = data.subset(count)
            self.measured(self._changed(copy.deepcopy(model), few), few, context)
            seconds.append(time.perf_counter() - started)
        return max(seconds[-1] - seconds[-2], 0.0) / (_MORE - _FEW)

    def _changed(self, model: nn.Module, data: ImageData) -> nn.Module:
        """Return the network with channels shuffled, normalisation calibrated and outputs averaged."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.variants.calibrated import calibrated
        from invariscope.variants.orbit_average import OrbitAverage
        from invariscope.weights import shuffled_channels

        if self.shuffled is not None:
            model = shuffled_channels(model, seed=self.shuffled)
        if self.normalization == "calibrated":
            model = calibrated(model, self.own_standard(data), seed=self.seed)
        return model if self.averaged is None else OrbitAverage(model, read_transform(self.averaged))


def _built(network: tuple[str, dict[str, Any]], data: ImageData, seed: int) -> nn.Module:
    """Return a network with random weights for these images."""
    from invariscope import zoo

    name, options = network
    return zoo.build(name, input_shape=data.shape, classes=len(data.classes), seed=seed, **options).eval()
