"""A cell that trains a network without labels: it is to tell how an image was moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import about
from invariscope.lab.recipes.kinds.unlabelled import Unlabelled

if TYPE_CHECKING:
    from invariscope.zoo import Training


@dataclass(frozen=True, kw_only=True)
class Recognize(Unlabelled):
    """Trains all but the last linear layer, as `zoo.recognize_elements` does.

    Args:
        transform: as in Python; its elements are to be told apart.
    """

    transform: str

    def _lesson(self) -> dict[str, Any]:
        from invariscope.catalog.expressions import read_transform
        from invariscope.lab.training.recognized import ElementRecognition

        with about("transform", self.transform):
            transform = read_transform(self.transform)
            ElementRecognition(transform)
        return {"transform": transform}

    def _trainer(self) -> Callable[..., Training]:
        from invariscope import zoo

        return zoo.recognize_elements
