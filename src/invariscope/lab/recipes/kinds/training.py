"""The base class of cells that train a network."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind, check_data, check_network
from invariscope.lab.recipes.stopping import raise_if_requested

if TYPE_CHECKING:
    from torch import nn

    from invariscope.zoo import Card, ImageData, Progress, Training

NETWORK = "network"
_FEW = 64
_IMAGES = {"mnist_subset": 8000, "cifar10": 50000}


@dataclass(frozen=True, kw_only=True)
class TrainingCell(Kind):
    """A cell that trains a network.

    Args:
        data: a data set of the zoo, whose training split is used.
        network, network_options: an architecture of the zoo.
        epochs, batch_size, lr, schedule, precision, channels_last, seed: as in `zoo.train`; the seed also
            determines the initial weights and the subset.
        samples: size of a seeded subset of the training images; None: all.
        standardize: whether each channel is scaled to mean 0 and standard deviation 1, over the training
            images.
        weights: "float16" rounds matrices and filters after training (`zoo.round_to_float16`), which halves
            the size of the network.
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
    def settings(self) -> dict[str, Any]:
        """Return the training options other than data and epochs, and reject invalid ones."""

    @abstractmethod
    def trainer(self) -> Callable[..., Training]:
        """Return the training function of the zoo."""

    def check_training(self) -> None:
        """Reject unknown networks and data sets, and numbers out of range."""
        check_network(self.network, self.network_options)
        check_data(self.data)
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {name}={getattr(self, name)}")

    def training_images(self, context: CellContext) -> ImageData:
        """Return the training images, standardised if requested."""
        data = context.data(self.data, "train", self.samples, seed=self.seed)
        return data.standardized() if self.standardize else data

    def card(self, data: ImageData) -> Card:
        """Return the card of the untrained network."""
        from invariscope.zoo import Card

        options, seed = self.network_options, self.seed
        return Card(
            network=self.network, input_shape=data.shape, classes=data.classes, options=options, seed=seed
        )

    def fitted(self, model: nn.Module, data: ImageData, context: CellContext, **options: Any) -> Training:
        """Train the model with a checkpoint, and round its weights if requested."""
        from invariscope.zoo import round_to_float16

        found = self.trainer()(
            model.to(context.device),
            data,
            epochs=self.epochs,
            checkpoint=context.kept / "training.safetensors",
            progress=progress_lines(context.log),
            **self.settings(),
            **options,
        )
        if self.weights == "float16":
            round_to_float16(model)
        return found

    def save(self, context: CellContext, model: nn.Module, card: Card, training: dict[str, Any]) -> None:
        """Write `network/`."""
        from invariscope.zoo import save_network

        save_network(context.folder / NETWORK, model, replace(card, training=training))

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count images times epochs as units of work."""
        named = (type(self).__name__.lower(), self.data, self.network, self.network_options, self.precision)
        transforms = [v for v in self.settings().values() if not isinstance(v, int | float | str)]
        images = self.samples or _IMAGES.get(self.data, 60000)
        return (*map(str, named), repr(transforms)), float(self.epochs * images)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Time the second of two small epochs."""
        from invariscope import zoo

        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_FEW)
        times = [time.perf_counter()]
        self.trainer()(
            self.card(data).build(),
            data,
            epochs=2,
            progress=lambda at: times.append(time.perf_counter()),
            **{**self.settings(), "batch_size": _FEW},
        )
        return (times[-1] - times[-2]) / _FEW


def network_after(folder: Path, epoch: int | None = None) -> tuple[nn.Module, Card]:
    """Return the network of a finished training cell, at the end or after an epoch, and its card.

    The network before training is rebuilt from its seed, unless the cell kept it.

    Raises:
        ValueError: the cell did not keep the network after that epoch.
    """
    from invariscope import zoo

    if epoch is None:
        return zoo.load_network(folder / NETWORK)
    if (folder / f"{NETWORK}@{epoch}").exists():
        return zoo.load_network(folder / f"{NETWORK}@{epoch}")
    card = zoo.load_card(folder / NETWORK)
    if epoch or (card.training or {}).get("start"):
        raise ValueError(
            f"no network was kept after epoch {epoch}: add it to keep_epochs of the training cell"
        )
    return card.build().eval(), card


def progress_lines(log: Callable[[str], None]) -> Callable[[Progress], None]:
    """Return a progress callback that logs a line after each epoch, and ends the training on SIGTERM."""

    def report(at: Progress) -> None:
        raise_if_requested()
        if at.batch == at.batches:
            log(f"epoch {at.epoch} of {at.epochs}, last loss {at.loss:.4f}")

    return report
