"""What cells that train a network without labels share."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind, check_data, check_network
from invariscope.lab.recipes.kinds.train import NETWORK, images_of, progress_lines

if TYPE_CHECKING:
    from torch import nn

    from invariscope.zoo import ImageData, Training

_FEW = 64


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Kind):
    """Trains all but the last linear layer, which keeps its random weights.

    A `train` cell that starts from this one, with `trained = ["fc2.*"]` or whatever that layer is called,
    puts a linear probe on the features.

    Args:
        data: a data set of the zoo; the images of its training split.
        network, network_options: an architecture of the zoo that ends with a linear layer.
        epochs, batch_size, lr, schedule, precision, channels_last, seed: as in `zoo.train`; the seed is also
            that of the initial weights and of the subset.
        samples: a seeded subset of the training images; None: all.
        standardize: mean 0 and deviation 1 in each channel, by the training images.
        weights: "float16": rounded to it after training, as in a `train` cell.
    """

    gives: ClassVar[Literal["network", "result"]] = "network"

    data: str
    network: str
    epochs: int
    network_options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 256
    lr: float = 1e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    precision: Literal["float32", "bf16", "auto"] = "float32"
    channels_last: bool = True
    seed: int = 0
    samples: int | None = None
    standardize: bool = True
    weights: Literal["float32", "float16"] = "float32"

    @abstractmethod
    def _lesson(self) -> dict[str, Any]:
        """Options of the training beside those of every training; raises for what cannot be."""

    @abstractmethod
    def _trainer(self) -> Callable[..., Training]:
        """The zoo's function."""

    @property
    def needs(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The training split."""
        return ((self.data, "train"),)

    def check(self) -> None:
        """Network, data set and transforms exist; numbers are in range."""
        check_network(self.network, self.network_options)
        check_data(self.data)
        self._lesson()
        if self.epochs < 1:
            raise ValueError(f"epochs is at least 1; got epochs={self.epochs}")

    def run(self, context: CellContext) -> None:
        """Writes `network/`."""
        from invariscope import zoo

        data = context.data(self.data, "train", self.samples, seed=self.seed)
        data = data.standardized() if self.standardize else data
        card = zoo.Card(
            network=self.network,
            input_shape=data.shape,
            classes=data.classes,
            options=self.network_options,
            seed=self.seed,
        )
        model = card.build().to(context.device)
        place, progress = context.kept / "training.safetensors", progress_lines(context.log)
        trained = self._train(model, data, epochs=self.epochs, checkpoint=place, progress=progress)
        if self.weights == "float16":
            zoo.round_to_float16(model)
        zoo.save_network(context.folder / NETWORK, model, replace(card, training=trained.describe()))

    def _train(self, model: nn.Module, data: ImageData, **options: Any) -> Training:
        named = ("batch_size", "lr", "schedule", "precision", "channels_last", "seed")
        given = {name: getattr(self, name) for name in named}
        return self._trainer()(model, data, **{**given, **self._lesson(), **options})

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """A training step of one image."""
        network = (self.data, self.network, tuple(self.network_options.items()), self.precision)
        alike = (type(self).__name__, *map(str, network), repr(self._lesson()))
        return alike, float(self.epochs * (self.samples or images_of(self.data)))

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Two small epochs, the second of which counts."""
        from invariscope import zoo

        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_FEW)
        options = self.network_options
        model = zoo.build(self.network, input_shape=data.shape, classes=len(data.classes), **options)
        times = [time.perf_counter()]
        self._train(
            model, data, epochs=2, batch_size=_FEW, progress=lambda at: times.append(time.perf_counter())
        )
        return (times[-1] - times[-2]) / _FEW
