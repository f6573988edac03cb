"""Some elements of a transform, as a transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Traits, Transform


@dataclass(frozen=True)
class Chosen(Transform, listed=False):
    """Some elements of another transform, each moving a sample as it does there, draws included.

    Args:
        of: the transform.
        places: positions in it, in the order that they are to have here.
    """

    of: Transform
    places: tuple[int, ...]

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return none: it is made of other transforms."""
        return ()

    def _traits(self) -> Traits:
        whole = self.of
        return replace(
            whole.traits,
            labels=self._pick(whole.labels),
            parameters={name: self._pick(values) for name, values in whole.parameters.items()},
            identity=self.places.index(whole.identity) if whole.identity in self.places else None,
            exact=self._pick(whole.exact),
            slider=None,
            acts_on=None,
        )

    def check(self, x: Any) -> None:
        """Raise TypeError for data that the whole cannot move."""
        self.of.check(x)

    def inverse(self) -> Transform:
        """Return the same places of the whole's inverse."""
        return Chosen(self.of.inverse(), self.places)

    def table(self) -> None:
        """Return None: some elements of a group are seldom a group."""

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Apply the chosen elements of the whole."""
        elements = np.array(self.places)[motion.elements]
        draws = motion.draws
        if elements.ndim == 1:  # one column per element, which draws what it draws in the whole
            draws = replace(draws, chosen=elements)
        return self.of.apply(values, replace(motion, elements=elements, draws=draws))

    def _pick(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[place] for place in self.places)
