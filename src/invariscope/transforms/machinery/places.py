"""Families that put the entries along one axis into other places."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.base import Motion, Transform
from invariscope.transforms.machinery.checks import need_tensor


@dataclass(frozen=True)
class _Places(Transform):
    """A transform given by one permutation an element: entry i of the axis goes to place p(i).

    A family defines `entries`, `along`, `_forward` and what is left of a transform.
    """

    @property
    @abstractmethod
    def entries(self) -> int:
        """How many entries are permuted."""

    @property
    @abstractmethod
    def along(self) -> int:
        """The axis of the data, samples being axis 0."""

    @abstractmethod
    def _forward(self, motion: Motion) -> np.ndarray:
        """Where each entry goes, (column, entry) or (sample, column, entry), nothing inverted."""

    @property
    def invertible(self) -> bool:
        """True."""
        return True

    def check(self, x: Any) -> None:
        """Raises for what is no tensor with that many entries along the axis."""
        need_tensor(type(self).__name__, x)
        self._place(x.shape)

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        axis = self._place((values.shape[0], *values.shape[2:])) + 1
        going = self._forward(motion)
        # The value at place q comes from the entry that goes there.
        coming = going if motion.inverse else np.argsort(going, axis=-1)
        shape = [1] * values.ndim
        shape[1], shape[axis] = coming.shape[-2], coming.shape[-1]
        if coming.ndim == 3:
            shape[0] = len(coming)
        index = torch.from_numpy(np.ascontiguousarray(coming)).to(values.device).view(shape)
        return values.gather(axis, index.expand(values.shape))

    def _place(self, shape: Any) -> int:
        """The axis, if data of that shape have it with the right number of entries."""
        size = len(shape)
        axis = self.along % size if -size < self.along < size else 0
        if axis == 0 or shape[axis] != self.entries:
            rest = ", ".join(map(str, shape[1:]))
            raise TypeError(
                f"{type(self).__name__} permutes {self.entries} entries along axis {self.along}; got the "
                f"shape (n, {rest}). Make it for as many entries as there are, or say with axis= where."
            )
        return axis
