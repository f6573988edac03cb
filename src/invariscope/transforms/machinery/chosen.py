"""A transform that consists of some elements of another transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.machinery.traits import picked


@dataclass(frozen=True)
class Chosen(Transform, listed=False):
    """Selected elements of another transform, with the same draws as in that transform.

    Args:
        of: the transform.
        places: positions of the elements in it, in order.
    """

    of: Transform
    places: tuple[int, ...]

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return no examples, since this class is internal."""
        return ()

    def _traits(self) -> Traits:
        whole = self.of
        return replace(
            whole.traits,
            labels=picked(whole.labels, self.places),
            parameters={name: picked(values, self.places) for name, values in whole.parameters.items()},
            identity=self.places.index(whole.identity) if whole.identity in self.places else None,
            exact=picked(whole.exact, self.places),
            slider=None,
            acts_on=None,
        )

    def check(self, x: Any) -> None:
        """Raise TypeError for data that the whole transform cannot act on."""
        self.of.check(x)

    def inverse(self) -> Transform:
        """Return the same elements of the whole transform's inverse."""
        return Chosen(self.of.inverse(), self.places)

    def table(self) -> None:
        """Return None: selected elements of a group rarely form a group."""

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the chosen elements of the whole transform."""
        elements = np.array(self.places)[motion.elements]
        draws = motion.draws
        if elements.ndim == 1:  # a column per element, with its draws in the whole transform
            draws = replace(draws, chosen=elements)
        return self.of.apply(values, replace(motion, elements=elements, draws=draws))
