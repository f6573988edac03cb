"""Families that act along one axis of the data: they permute its entries, or turn the vectors along it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.base import Motion, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.checks import need_floating, need_tensor
from invariscope.transforms.machinery.linear import Linear
from invariscope.transforms.machinery.traits import Axis


class AlongAxis(Linear):
    """A transform along `axis` of the data, with samples on axis 0.

    A family defines `entries`, `_forward`, `examples`, `table`, and `_traits`, which include `acts_on`.
    """

    axis: int
    multiples: ClassVar[bool]  # whether the axis may hold a multiple of `entries`

    @property
    @abstractmethod
    def entries(self) -> int | None:
        """Number of entries along the axis that an element acts on; None for any number."""

    @property
    def acts_on(self) -> Axis:
        """The axis that the elements act on, for the traits."""
        return Axis(self.axis, self.entries, self.multiples)

    def inverse(self) -> Transform:
        """Return the inverses of the elements."""
        return Inverse(self)

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` is a tensor with the right number of entries along the axis."""
        need_tensor(type(self).__name__, x)
        self._place(x.shape)
        if self.multiples:
            need_floating(type(self).__name__, x, "Convert first: x.float().")

    def _place(self, shape: Sequence[int]) -> int:
        """Return the non-negative axis for data of this shape."""
        size = len(shape)
        axis = self.axis % size if -size < self.axis < size else 0
        if axis == 0 or not shape[axis] or not self.acts_on.fits(shape[axis]):
            rest = ", ".join(map(str, shape[1:]))
            count = "" if self.entries is None else f"{'a multiple of ' * self.multiples}{self.entries} "
            raise TypeError(
                f"{type(self).__name__} acts on {count}entries along axis {self.axis}; got shape "
                f"(n, {rest}). Set axis= to the axis that holds them, or change the number of entries."
            )
        return axis

    def _place_in(self, values: Tensor) -> int:
        """Return the axis of values (sample, column, ...)."""
        return self._place((values.shape[0], *values.shape[2:])) + 1


class Permuting(AlongAxis):
    """Move entry i of the axis to place p(i); a family defines `places_of`."""

    multiples: ClassVar[bool] = False

    @abstractmethod
    def places_of(self, size: int, motion: Motion) -> np.ndarray:
        """Return p for this number of entries, (column, entry) or (sample, column, entry), not inverted."""

    def linear_parts(self, motion: Motion) -> None:
        """Return None: permutations do not turn directions."""

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Permute the entries."""
        axis = self._place_in(values)
        places = self.places_of(values.shape[axis], motion)
        return gathered(values, places if motion.inverse else np.argsort(places, axis=-1), axis)


class Turning(AlongAxis):
    """Multiply vectors by the orthogonal matrices of `_forward`.

    An axis k times as long as a vector holds k vectors in a row, such as positions and velocities.
    """

    multiples: ClassVar[bool] = True

    @abstractmethod
    def _forward(self, motion: Motion) -> np.ndarray:
        """Return the matrices (column, d, d) or (sample, column, d, d), not inverted."""

    def linear_parts(self, motion: Motion) -> np.ndarray:
        """Return the matrices of the motion's elements or, for an inverse motion, their transposes."""
        forward = self._forward(motion)
        return forward.swapaxes(-1, -2) if motion.inverse else forward

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Multiply the vectors by the matrices."""
        axis = self._place_in(values)
        matrices = torch.from_numpy(np.ascontiguousarray(self.linear_parts(motion)))
        return turned(values, matrices.to(values.device), axis)


def gathered(values: Tensor, source: np.ndarray, axis: int) -> Tensor:
    """Return values (sample, column, ...) with entry q along an axis taken from entry `source[..., q]`.

    Args:
        values: (sample, column, ...).
        source: (column, entry) or (sample, column, entry).
        axis: axis of the values, at least 2.
    """
    shape = [1] * values.ndim
    shape[1], shape[axis] = source.shape[-2:]
    if source.ndim == 3:
        shape[0] = len(source)
    index = torch.from_numpy(np.ascontiguousarray(source)).to(values.device).view(shape)
    return values.gather(axis, index.expand(values.shape))


def turned(values: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Multiply the vectors along one axis by the matrix of their column.

    Args:
        values: (sample, column, ...), with k·d entries along the axis: k vectors.
        matrices: (column, d, d) or (sample, column, d, d).
        axis: axis of the values, at least 2.
    """
    size = matrices.shape[-1]
    whole = values.unflatten(axis, (-1, size)).movedim(axis + 1, -1)
    work = whole if whole.dtype in (torch.float32, torch.float64) else whole.float()
    flat = work.flatten(2, -2)
    found = flat @ matrices.to(work.dtype).transpose(-1, -2)
    return found.view(work.shape).movedim(-1, axis + 1).flatten(axis, axis + 1).to(values.dtype)
