"""Some elements of a transform, as a transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.transforms.base import Motion, Transform


@dataclass(frozen=True)
class _Chosen(Transform):
    """Some elements of another transform, each moving a sample as it does there, draws included.

    Args:
        of: the transform.
        places: positions in it, in the order that they shall have here.
    """

    of: Transform
    places: tuple[int, ...]

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """None: it is made of other transforms."""
        return ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the chosen elements."""
        return self._pick(self.of.labels)

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """Those of the chosen elements."""
        return {name: self._pick(values) for name, values in self.of.parameters.items()}

    @property
    def identity(self) -> int | None:
        """Where the identity is, if it was chosen."""
        return self.places.index(self.of.identity) if self.of.identity in self.places else None

    @property
    def exact(self) -> tuple[bool, ...]:
        """Those of the chosen elements."""
        return self._pick(self.of.exact)

    @property
    def per_sample(self) -> bool:
        """As the whole."""
        return self.of.per_sample

    @property
    def invertible(self) -> bool:
        """As the whole."""
        return self.of.invertible

    def check(self, x: Any) -> None:
        """As the whole."""
        self.of.check(x)

    def inverse(self) -> Transform:
        """The same places of the whole's inverse."""
        return _Chosen(self.of.inverse(), self.places)

    def table(self) -> np.ndarray | None:
        """None: some elements of a group are seldom one."""
        return None

    def _pick(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[place] for place in self.places)

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        elements = np.array(self.places)[motion.elements]
        draws = motion.draws
        if elements.ndim == 1:  # a column an element, which draws what it draws in the whole
            draws = replace(draws, chosen=elements)
        return self.of._apply(values, replace(motion, elements=elements, draws=draws))
