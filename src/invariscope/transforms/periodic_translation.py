"""Exact translations that wrap around the image: a finite group."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.common.checks import elements, set_integers
from invariscope.transforms.base import Motion, Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.along_axis import gathered
from invariscope.transforms.machinery.checks import need_images


@dataclass(frozen=True)
class PeriodicTranslation(Transform):
    r"""Cyclic shifts by equal parts of the image's height and width.

    .. math:: (t_{ab} x)(r, c) = x\bigl(r - a H / m_y \bmod H,\; c - b W / m_x \bmod W\bigr)

    The shifts are bit-exact and form a product of two cyclic groups, with a group table. Content that leaves
    the image on one side re-enters on the opposite side. A feature map is shifted by the same fractions of
    its own height and width. An error is raised if these are not whole pixels, as for an odd size after a
    stride. `Translation` shifts by pixels instead, and fills the uncovered area with padding.

    Caveats: only networks with circular padding can be equivariant near the border.

    Args:
        rows: number of equal parts of the height, and of shifts down.
        columns: number of equal parts of the width, and of shifts to the right.
    Raises:
        ValueError: the height or width cannot be divided into that many parts.
        TypeError: the inputs are not floating-point images.

    >>> import torch
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> PeriodicTranslation(1, 2).orbit(row)[0, 1, 0]
    tensor([[3., 4., 1., 2.]])
    """

    rows: int = 4
    columns: int = 4

    def __post_init__(self) -> None:
        set_integers(self, rows=1, columns=1)
        elements("the number of shifts, rows × columns,", self.rows * self.columns)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return shifts by halves down and quarters to the right, and shifts by sevenths down."""
        return cls(2, 4), cls(7, 1)

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point images (n, C, H, W) that divide into the parts."""
        need_images("PeriodicTranslation", x)
        self._pixels(x)

    def inverse(self) -> Transform:
        """Return the opposite shifts."""
        return Inverse(self)

    def table(self) -> np.ndarray:
        """Return the group table: shifts add up modulo the image size."""
        steps = self._steps()
        sums = (steps[:, None] + steps[None]) % (self.rows, self.columns)
        return sums[..., 0] * self.columns + sums[..., 1]

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Shift by whole pixels, wrapping around."""
        need_images("PeriodicTranslation", values, "n, m, C, H, W")
        high, wide = self._pixels(values)
        steps = self._steps()[motion.elements] * (-1 if motion.inverse else 1)
        found = _rolled(values, steps[..., 0] * high, -2)
        return _rolled(found, steps[..., 1] * wide, -1)

    def _traits(self) -> Traits:
        down, right = self._steps().T
        parts = [(Fraction(b, self.columns), Fraction(a, self.rows)) for a, b in self._steps().tolist()]
        shares = {"shift_x_share": right / self.columns, "shift_y_share": down / self.rows}
        return Traits(
            tuple(f"({x} W, {y} H)" for x, y in parts),
            {name: tuple(values.tolist()) for name, values in shares.items()},
            identity=0,
            exact=(True,) * len(parts),
            acts_on="pixels",
            added_by=("rows", "columns"),
        )

    def _steps(self) -> np.ndarray:
        """Return the number of parts down and to the right, (element, 2)."""
        return np.stack(np.divmod(np.arange(self.rows * self.columns), self.columns), axis=-1)

    def _pixels(self, x: Tensor) -> tuple[int, int]:
        """Return the height and width of a part in pixels."""
        for side, name, parts in ((-2, "height", self.rows), (-1, "width", self.columns)):
            if x.shape[side] % parts:
                raise ValueError(
                    f"PeriodicTranslation shifts by whole pixels: a {name} of {x.shape[side]} px cannot be "
                    f"divided into {parts} equal parts. Give a number of parts that divides it, or resize."
                )
        return x.shape[-2] // self.rows, x.shape[-1] // self.columns


def _rolled(values: Tensor, shifts: np.ndarray, axis: int) -> Tensor:
    """Return values (sample, column, ...) rolled along an axis, by (column,) or (sample, column) places."""
    size = values.shape[axis]
    source = (np.arange(size) - shifts[..., None]) % size
    return gathered(values, source, values.ndim + axis)
