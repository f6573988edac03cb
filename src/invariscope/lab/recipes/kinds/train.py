"""A cell that trains a network, from random weights or from those of another cell."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind, about, check_data, check_network
from invariscope.lab.recipes.stopping import raise_if_requested

if TYPE_CHECKING:
    from torch import nn

    from invariscope.transforms import Transform
    from invariscope.zoo import Card, ImageData, Progress

NETWORK = "network"
_FEW = 64
_SETTINGS = (
    "batch_size", "lr", "schedule", "seed", "precision", "channels_last", "optimizer", "weight_decay",
    "label_smoothing", "flip", "crop_px", "ema",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Train(Kind):
    """Trains a classifier, as `zoo.train` does.

    Args:
        data: a data set of the zoo; its training split.
        network, network_options: an architecture of the zoo.
        epochs, batch_size, lr, schedule, precision, channels_last, seed: as in `zoo.train`; the seed is also
            that of the initial weights and of the subset.
        samples: a seeded subset of the training images; None: all.
        standardize: mean 0 and deviation 1 in each channel, by the training images.
        augmentation: a transform, as in Python.
        tested: test images for the accuracy after each epoch; 0: none.
        start: a training cell whose network is trained further, on whatever data.
        fresh: patterns of the parameters that are drawn anew all the same, such as "fc2.*".
        trained: patterns of the parameters that training changes, or "head" for the last linear layer; the
            others stay as they start.
        optimizer, weight_decay, label_smoothing, flip, crop_px, ema: as in `zoo.train`.
        keep_epochs: the network is also kept as it was after these epochs; 0: before training.
        weights: "float16": after training, matrices and filters are rounded to it (`zoo.round_to_float16`),
            so that the network takes half the space. Networks of `keep_epochs` are not rounded.
        graded: measure the accuracy of the finished network on the whole test split.
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
    augmentation: str | None = None
    tested: int = 0
    start: str | None = None
    fresh: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=lambda: ["*"])
    keep_epochs: list[int] = field(default_factory=list)
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    flip: bool = False
    crop_px: int = 0
    ema: float = 0.0
    weights: Literal["float32", "float16"] = "float32"
    graded: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The cell whose network is trained further."""
        return () if self.start is None else (self.start,)

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The training split, and the test split where it is looked at."""
        tested = self.tested or self.graded
        return ((self.data, "train"), (self.data, "test")) if tested else ((self.data, "train"),)

    def check(self) -> None:
        """Network, data set and transform exist; numbers are in range."""
        from invariscope.zoo.train_config import TrainConfig

        check_network(self.network, self.network_options)
        check_data(self.data)
        with about("augmentation", self.augmentation or ""):
            self._augmentation()
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is above 0; got {name}={getattr(self, name)}")
        with about("weight_decay"):
            TrainConfig(epochs=self.epochs, **self._settings())
        if not self.trained:
            raise ValueError("trained is empty: name the parameters that training changes")
        if any(not 0 <= epoch <= self.epochs for epoch in self.keep_epochs):
            raise ValueError(
                f"keep_epochs lie between 0 and the {self.epochs} epochs; got keep_epochs={self.keep_epochs}"
            )

    def run(self, context: CellContext) -> None:
        """Writes `network/`, and `network@K/` for every epoch that is kept."""
        from invariscope import zoo

        data, test = self._data(context)
        model, card = self._model(context, data)
        kept = _Kept(context.kept, replace(card, training={"data": data.describe()}), self.keep_epochs)
        trained = zoo.train(
            model.to(context.device),
            data,
            epochs=self.epochs,
            augmentation=self._augmentation(),
            test=test,
            checkpoint=context.kept / "training.safetensors",
            progress=progress_lines(context.log),
            monitor=kept,
            **self._settings(),
        )
        kept.copy(context.folder)
        if self.weights == "float16":
            zoo.round_to_float16(model)
        described = {**trained.describe(), "start": self.start, **self._grade(model, data, context)}
        zoo.save_network(context.folder / NETWORK, model, replace(card, training=described))

    def _grade(self, model: nn.Module, data: ImageData, context: CellContext) -> dict[str, Any]:
        """Accuracy on the whole test split, and the number of its images; empty unless `graded`."""
        from invariscope import zoo

        if not self.graded:
            return {}
        test = context.data(self.data, "test")
        test = test.standardized(data.mean, data.std) if self.standardize else test
        return {"test_accuracy": zoo.evaluate(model, test), "test_images": len(test)}

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS}

    def _data(self, context: CellContext) -> tuple[ImageData, ImageData | None]:
        data = context.data(self.data, "train", self.samples, seed=self.seed)
        test = context.data(self.data, "test", self.tested, seed=self.seed) if self.tested else None
        if not self.standardize:
            return data, test
        data = data.standardized()
        return data, test and test.standardized(data.mean, data.std)

    def _augmentation(self) -> Transform | None:
        from invariscope.catalog.expressions import read_transform

        return None if self.augmentation is None else read_transform(self.augmentation)

    def _model(self, context: CellContext, data: ImageData) -> tuple[nn.Module, Card]:
        from invariscope import zoo
        from invariscope.zoo.trainable import trainable_names

        card = zoo.Card(
            network=self.network,
            input_shape=data.shape,
            classes=data.classes,
            options=self.network_options,
            seed=self.seed,
        )
        model = card.build()
        if self.start is not None:
            _take_over(
                model, zoo.load_network(context.inputs[self.start] / NETWORK)[0], self.fresh, self.start
            )
        changed = frozenset[str]().union(*(trainable_names(model, pattern) for pattern in self.trained))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in changed)
        return model, card

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """A training step of one image."""
        options = (self.data, self.network, tuple(self.network_options.items()), self.precision)
        samples = self.samples or images_of(self.data)
        return ("train", *map(str, options)), float(self.epochs * samples)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Two small epochs, the second of which counts."""
        from invariscope import zoo

        data = zoo.load(self.data, split="test", data_dir=data_dir, samples=_FEW)
        model = zoo.build(
            self.network, input_shape=data.shape, classes=len(data.classes), **self.network_options
        )
        times = [time.perf_counter()]
        zoo.train(
            model,
            data,
            epochs=2,
            progress=lambda at: times.append(time.perf_counter()),
            **{**self._settings(), "batch_size": _FEW},
        )
        return (times[-1] - times[-2]) / _FEW


class _Kept:
    """A monitor that keeps the network as it was after some epochs."""

    def __init__(self, folder: Path, card: Card, epochs: list[int]) -> None:
        self._folder, self._card, self._epochs = folder, card, epochs

    def __call__(self, model: nn.Module, epoch: int) -> None:
        """After that epoch; one that an interrupted run kept already stays."""
        from invariscope import zoo

        place = self._folder / f"{NETWORK}@{epoch}"
        if epoch in self._epochs and not place.exists():
            zoo.save_network(place, model, self._card)

    def copy(self, folder: Path) -> None:
        """Copies them to what will be the cell: if that is interrupted, the originals are still there."""
        for epoch in dict.fromkeys(self._epochs):
            shutil.copytree(self._folder / f"{NETWORK}@{epoch}", folder / f"{NETWORK}@{epoch}")


def network_after(folder: Path, epoch: int | None = None) -> tuple[nn.Module, Card]:
    """The network of a finished training cell, as it ended or as it was after an epoch, and its card.

    The network before training is built again from its seed, unless the cell kept it.

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
            f"no network was kept after epoch {epoch}: list it under keep_epochs of the training"
        )
    return card.build().eval(), card


def progress_lines(log: Callable[[str], None]) -> Callable[[Progress], None]:
    """Return a progress callback that logs a line after each epoch, and ends the training on SIGTERM."""

    def tell(at: Progress) -> None:
        raise_if_requested()
        if at.batch == at.batches:
            log(f"epoch {at.epoch} of {at.epochs}, last loss {at.loss:.4f}")

    return tell


def _take_over(model: nn.Module, earlier: nn.Module, fresh: list[str], name: str) -> None:
    """Copies all weights that are not to be fresh.

    Raises:
        ValueError: the two differ elsewhere.
    """
    weights, own = earlier.state_dict(), model.state_dict()
    taken = [key for key in own if not any(fnmatchcase(key, pattern) for pattern in fresh)]
    for key in taken:
        if key not in weights or weights[key].shape != own[key].shape:
            raise ValueError(
                f"{key} of the network of {name!r} does not fit: start from the same architecture and image "
                f"size, or list it under fresh"
            )
    model.load_state_dict({**own, **{key: weights[key] for key in taken}})


def images_of(data: str) -> int:
    """Training images, for an estimate of time."""
    return {"mnist_subset": 8000, "cifar10": 50000}.get(data, 60000)
