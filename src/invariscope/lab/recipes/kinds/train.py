"""A cell that trains a classifier, from random weights or from those of another cell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from invariscope.common.globs import matches_any
from invariscope.lab.recipes.kinds.base import CellContext, about
from invariscope.lab.recipes.kinds.training import NETWORK, TrainingCell

if TYPE_CHECKING:
    from torch import nn

    from invariscope.transforms import Transform
    from invariscope.zoo import Card, ImageData, Training

_SETTINGS = (
    "batch_size", "lr", "schedule", "seed", "precision", "channels_last", "optimizer", "weight_decay",
    "label_smoothing", "flip", "crop_px", "ema",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Train(TrainingCell):
    """A cell that trains a classifier, as in `zoo.train`.

    Args:
        augmentation: a transform, as a Python expression.
        tested: number of test images for the accuracy after each epoch; 0: none.
        start: a training cell whose network is trained further, possibly on other data.
        fresh: patterns of parameters that are newly initialised despite `start`, such as "fc2.*".
        trained: patterns of the parameters that training changes, or "head" for the last linear layer; the
            others keep their initial values.
        optimizer, weight_decay, label_smoothing, flip, crop_px, ema: as in `zoo.train`.
        keep_epochs: epochs after which the network is also saved, without rounding; 0: before training.
        graded: measure the accuracy of the finished network on the whole test split.
    """

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
    graded: bool = False

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The training split, and the test split if it is used."""
        tested = self.tested or self.graded
        return ((self.data, "train"), (self.data, "test")) if tested else ((self.data, "train"),)

    def check(self) -> None:
        """Reject unknown networks, data sets and transforms, and numbers out of range."""
        from invariscope.zoo.train_config import TrainConfig

        with about("augmentation", self.augmentation or ""):
            self._augmentation()
        self.check_training()
        with about("weight_decay"):
            TrainConfig(epochs=self.epochs, **self.settings())
        if not self.trained:
            raise ValueError("trained is empty: name the parameters that training changes")
        if any(not 0 <= epoch <= self.epochs for epoch in self.keep_epochs):
            raise ValueError(
                f"keep_epochs must be between 0 and {self.epochs}, the number of epochs; got "
                f"keep_epochs={self.keep_epochs}"
            )

    def settings(self) -> dict[str, Any]:
        """Return the options of `zoo.train`."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def trainer(self) -> Callable[..., Training]:
        """Return `zoo.train`."""
        from invariscope.zoo import train

        return train

    def run(self, context: CellContext) -> None:
        """Write `network/`, and `network@K/` for every epoch in `keep_epochs`."""
        data = self.training_images(context)
        card = self.card(data)
        model = self._model(context, card)
        kept = _Kept(context.kept, replace(card, training={"data": data.describe()}), self.keep_epochs)
        test = self._test_images(context, data, self.tested) if self.tested else None
        options = {"augmentation": self._augmentation(), "test": test, "monitor": kept}
        found = self.fitted(model, data, context, **options).describe()
        kept.copy(context.folder)
        self.save(context, model, card, {**found, "start": self.start, **self._grade(model, data, context)})

    def _grade(self, model: nn.Module, data: ImageData, context: CellContext) -> dict[str, Any]:
        """Return the accuracy on the whole test split and its number of images; empty unless `graded`."""
        from invariscope import zoo

        if not self.graded:
            return {}
        test = self._test_images(context, data, None)
        return {"test_accuracy": zoo.evaluate(model, test), "test_images": len(test)}

    def _test_images(self, context: CellContext, data: ImageData, samples: int | None) -> ImageData:
        """Return test images, standardised like the training images."""
        test = context.data(self.data, "test", samples, seed=self.seed)
        return test.standardized(data.mean, data.std) if self.standardize else test

    def _augmentation(self) -> Transform | None:
        from invariscope.catalog.expressions import read_transform

        return None if self.augmentation is None else read_transform(self.augmentation)

    def _model(self, context: CellContext, card: Card) -> nn.Module:
        from invariscope import zoo
        from invariscope.zoo.trainable import trainable_names

        model = card.build()
        if self.start is not None:
            earlier = zoo.load_network(context.inputs[self.start] / NETWORK)[0]
            _take_over(model, earlier, self.fresh, self.start)
        changed = frozenset[str]().union(*(trainable_names(model, pattern) for pattern in self.trained))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in changed)
        return model


class _Kept:
    """A monitor that saves the network after some epochs."""

    def __init__(self, folder: Path, card: Card, epochs: list[int]) -> None:
        self._folder, self._card, self._epochs = folder, card, epochs

    def __call__(self, model: nn.Module, epoch: int) -> None:
        """Save the network after this epoch, unless an interrupted run already did."""
        from invariscope import zoo

        place = self._folder / f"{NETWORK}@{epoch}"
        if epoch in self._epochs and not place.exists():
            zoo.save_network(place, model, self._card)

    def copy(self, folder: Path) -> None:
        """Copy the networks to the cell; the originals remain in case of an interruption."""
        for epoch in dict.fromkeys(self._epochs):
            shutil.copytree(self._folder / f"{NETWORK}@{epoch}", folder / f"{NETWORK}@{epoch}")


def _take_over(model: nn.Module, earlier: nn.Module, fresh: list[str], name: str) -> None:
    """Copy the weights of an earlier network, except for fresh ones.

    Raises:
        ValueError: weights that are not fresh differ in name or shape.
    """
    weights, own = earlier.state_dict(), model.state_dict()
    taken = [key for key in own if not matches_any(fresh, key)]
    for key in taken:
        if key not in weights or weights[key].shape != own[key].shape:
            raise ValueError(
                f"{key} of the network of {name!r} does not fit: start from the same architecture and image "
                f"size, or list it under fresh"
            )
    model.load_state_dict({**own, **{key: weights[key] for key in taken}})
