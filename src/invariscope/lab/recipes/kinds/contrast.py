"""A cell that trains a network without labels: two views of an image are to be recognised as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.unlabelled import Unlabelled

if TYPE_CHECKING:
    from invariscope.zoo import Training


@dataclass(frozen=True, kw_only=True)
class Contrast(Unlabelled):
    """Trains all but the last linear layer, as `zoo.contrastive` does.

    Args:
        views: transforms, as in Python; each view is moved by an element of each.
        intensity, color, temperature, projection: as in `zoo.contrastive`.
    """

    views: list[str]
    intensity: float = 0.0
    color: float = 0.0
    temperature: float = 0.5
    projection: int = 64

    def _lesson(self) -> dict[str, Any]:
        from invariscope.catalog.expressions import read_transform
        from invariscope.lab.training.contrastive import Pairs

        views = tuple(map(read_transform, self.views))
        Pairs(views, self.intensity, self.color, self.temperature)
        named = ("intensity", "color", "temperature", "projection")
        return {"views": views, **{name: getattr(self, name) for name in named}}

    def _trainer(self) -> Callable[..., Training]:
        from invariscope import zoo

        return zoo.contrastive
