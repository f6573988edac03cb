"""Families that act on vectors, such as the points of a cloud, by orthogonal matrices."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.base import Motion
from invariscope.transforms.machinery.checks import need_tensor
from invariscope.transforms.machinery.linear import _Linear


@dataclass(frozen=True)
class _Vectors(_Linear):
    """A transform given by one orthogonal matrix an element, for vectors along one axis of the data.

    A family defines `entries`, `along`, `_forward` and what is left of a transform. An axis that is k times
    as long as a vector holds k vectors, one behind the other: positions and velocities, say.
    """

    @property
    @abstractmethod
    def entries(self) -> int:
        """Of a vector."""

    @property
    @abstractmethod
    def along(self) -> int:
        """The axis of the data on which the vectors' entries lie, samples being axis 0."""

    @abstractmethod
    def _forward(self, motion: Motion) -> np.ndarray:
        """The matrices of the motion's elements, (column, d, d) or (sample, column, d, d), none inverted."""

    @property
    def invertible(self) -> bool:
        """True."""
        return True

    def check(self, x: Any) -> None:
        """Raises for what is no tensor of real numbers with vectors along the axis."""
        need_tensor(type(self).__name__, x)
        self._place(x.shape)
        if not x.is_floating_point():
            raise TypeError(
                f"{type(self).__name__} needs floating-point values; got "
                f"{str(x.dtype).removeprefix('torch.')}. Convert first: x.float()."
            )

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """The matrices of the motion's elements, or of their inverses."""
        forward = self._forward(motion)
        return forward.swapaxes(-1, -2) if motion.inverse else forward

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        place = self._place((values.shape[0], *values.shape[2:]))
        matrices = torch.from_numpy(np.ascontiguousarray(self.linear_parts(motion)))
        return turned(values, matrices.to(values.device), place + 1 if place > 0 else place)

    def _place(self, shape: Any) -> int:
        """The axis, if data of that shape have it and it holds whole vectors."""
        size = len(shape)
        axis = self.along % size if -size < self.along < size else 0
        if axis == 0 or shape[axis] % self.entries or not shape[axis]:
            rest = ", ".join(map(str, shape[1:]))
            raise TypeError(
                f"{type(self).__name__} turns vectors of {self.entries} entries along axis {self.along}; "
                f"got the shape (n, {rest}). Say with axis= where the entries lie: a multiple of "
                f"{self.entries} of them."
            )
        return axis


def turned(values: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Values (sample, column, ...) with the vectors along one axis multiplied by their column's matrix.

    Args:
        values: (sample, column, ...), the axis holding k·d entries: k vectors.
        matrices: (column, d, d) or (sample, column, d, d).
        axis: of the values, at least 2.
    """
    size = matrices.shape[-1]
    whole = values.unflatten(axis, (-1, size)).movedim(axis + 1, -1)
    work = whole if whole.dtype in (torch.float32, torch.float64) else whole.float()
    flat = work.flatten(2, -2)
    found = flat @ matrices.to(work.dtype).transpose(-1, -2)
    return found.view(work.shape).movedim(-1, axis + 1).flatten(axis, axis + 1).to(values.dtype)
