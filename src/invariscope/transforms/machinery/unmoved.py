"""A transform that replaces another one by as many identity elements as needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.elements import Elements
from invariscope.transforms.machinery.chosen import Chosen


def unmoved(transform: Transform, count: int) -> Transform:
    """Return identity elements in place of those of another transform."""
    if transform.traits.resizes and transform.identity is not None:
        return Chosen(transform, (transform.identity,) * count)
    return Unmoved(transform, count)


@dataclass(frozen=True)
class Unmoved(Transform, listed=False):
    """Identity elements that replace those of another transform; its representations are identity matrices.

    Args:
        of: the transform that it replaces.
        count: number of elements.
    """

    of: Transform
    count: int

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return no examples, since this class is internal."""
        return ()

    @cached_property
    def _elements(self) -> Elements:
        same = [_same] * self.count
        return Elements(same, inverses=same, actions=same, inverse_actions=same)

    def _traits(self) -> Traits:
        return self._elements.traits

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` holds samples."""
        self._elements.check(x)

    def inverse(self) -> Transform:
        """Return itself."""
        return self

    def table(self) -> None:
        """Return None: the elements do not differ."""

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Return copies."""
        return self._elements.apply(values, motion)

    def moved_sample(self, sample: Any, motion: Motion) -> list[Any]:
        """Return copies of a sample."""
        return self._elements.moved_sample(sample, motion)


def _same(x: Any) -> Any:
    return x
