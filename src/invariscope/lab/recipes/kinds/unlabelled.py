"""Cells that train a network without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import CellContext, about
from invariscope.lab.recipes.kinds.training import TrainingCell

if TYPE_CHECKING:
    from invariscope.zoo import Training

_SETTINGS = ("batch_size", "lr", "schedule", "precision", "channels_last", "seed")


@dataclass(frozen=True, kw_only=True)
class _Unlabelled(TrainingCell):
    """Training without labels of all layers except the last linear one, which keeps its random weights.

    A `train` cell that starts from this one, with `trained = ["fc2.*"]` or the name of that layer, fits a
    linear probe to the features. The architecture must end with a linear layer.
    """

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """The training split."""
        return ((self.data, "train"),)

    def check(self) -> None:
        """Reject unknown networks, data sets and transforms, and numbers out of range."""
        self.settings()
        self.check_training()

    def run(self, context: CellContext) -> None:
        """Write `network/`."""
        data = self.training_images(context)
        card = self.card(data)
        model = card.build()
        self.save(context, model, card, self.fitted(model, data, context).describe())

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_SETTINGS, *names)}


@dataclass(frozen=True, kw_only=True)
class Contrast(_Unlabelled):
    """Contrastive training: match two views of an image, as in `zoo.contrastive`.

    Args:
        views: transforms, as Python expressions; each view is transformed by one element of each.
        intensity, color, temperature, projection: as in `zoo.contrastive`.
    """

    views: list[str]
    intensity: float = 0.0
    color: float = 0.0
    temperature: float = 0.5
    projection: int = 64

    def settings(self) -> dict[str, Any]:
        """Return the options of `zoo.contrastive`."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.lab.training.contrastive import Pairs

        views = tuple(map(read_transform, self.views))
        Pairs(views, self.intensity, self.color, self.temperature)
        return {"views": views, **self._given("intensity", "color", "temperature", "projection")}

    def trainer(self) -> Callable[..., Training]:
        """Return `zoo.contrastive`."""
        from invariscope.zoo import contrastive

        return contrastive


@dataclass(frozen=True, kw_only=True)
class Recognize(_Unlabelled):
    """Training to recognise which element transformed an image, as in `zoo.recognize_elements`.

    Args:
        transform: a Python expression; its elements are the classes.
    """

    transform: str

    def settings(self) -> dict[str, Any]:
        """Return the options of `zoo.recognize_elements`."""
        from invariscope.catalog.expressions import read_transform
        from invariscope.lab.training.recognized import ElementRecognition

        with about("transform", self.transform):
            transform = read_transform(self.transform)
            ElementRecognition(transform)
        return {"transform": transform, **self._given()}

    def trainer(self) -> Callable[..., Training]:
        """Return `zoo.recognize_elements`."""
        from invariscope.zoo import recognize_elements

        return recognize_elements
