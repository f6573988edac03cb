"""Translations that wrap around the image: a finite group, exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import set_integers
from invariscope.transforms.base import Motion, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.checks import need_images


@dataclass(frozen=True)
class PeriodicTranslation(Transform):
    r"""Shifts by equal parts of the image's height and width, what leaves on one side coming in on the other.

    .. math:: (t_{ab} x)(r, c) = x\bigl(r - a H / m_y \bmod H,\; c - b W / m_x \bmod W\bigr)

    The product of two cyclic groups, bit-exact, with a table. A feature map is shifted by the same parts
    of its own height and width; where those are no whole pixels (an odd size after a stride, say) there is
    no exact action, and it is refused. `Translation` fills what is left behind and shifts by pixels.

    Misleads: only networks with circular padding can be equivariant to it near the border.

    Args:
        rows: into how many parts the height is divided: that many shifts down.
        columns: the same of the width, to the right.
    Raises:
        ValueError: sizes that the numbers of parts do not divide.
        TypeError: no floating-point images.

    >>> row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> PeriodicTranslation(1, 2).orbit(row)[0, 1, 0]
    tensor([[3., 4., 1., 2.]])
    """

    rows: int = 4
    columns: int = 4

    def __post_init__(self) -> None:
        set_integers(self, rows=1, columns=1)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Halves down with quarters to the right, and sevenths down."""
        return cls(2, 4), cls(7, 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts, such as "(1/4 W, 1/2 H)", to the right and down."""
        return tuple(
            f"({Fraction(b, self.columns)} W, {Fraction(a, self.rows)} H)" for a, b in self._steps(self._all)
        )

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The parts of the width, `shift_x_share`, and of the height, `shift_y_share`."""
        steps = self._steps(self._all)
        x, y = steps[:, 1] / self.columns, steps[:, 0] / self.rows
        return {"shift_x_share": tuple(x.tolist()), "shift_y_share": tuple(y.tolist())}

    @property
    def identity(self) -> int | None:
        """The first element."""
        return 0

    @property
    def exact(self) -> tuple[bool, ...]:
        """True for all: shifts by parts of pixels are refused."""
        return (True,) * (self.rows * self.columns)

    @property
    def per_sample(self) -> bool:
        """False: the same shifts for every sample."""
        return False

    @property
    def invertible(self) -> bool:
        """True."""
        return True

    def check(self, x: Any) -> None:
        """Raises for what are no floating-point images (n, C, H, W) of sizes that can be divided."""
        need_images("PeriodicTranslation", x)
        self._pixels(x)

    def inverse(self) -> Transform:
        """The opposite shifts."""
        return Inverse(self)

    def table(self) -> np.ndarray:
        """Shifts add up, modulo the image."""
        steps = self._steps(self._all)
        sums = (steps[:, None] + steps[None]) % (self.rows, self.columns)
        return sums[..., 0] * self.columns + sums[..., 1]

    @property
    def _all(self) -> np.ndarray:
        return np.arange(self.rows * self.columns)

    def _steps(self, elements: np.ndarray) -> np.ndarray:
        """(..., 2) parts down and to the right."""
        return np.stack([elements // self.columns, elements % self.columns], axis=-1)

    def _pixels(self, x: Tensor) -> tuple[int, int]:
        """How many pixels a part is high and wide."""
        for side, name, parts in ((-2, "height", self.rows), (-1, "width", self.columns)):
            if x.shape[side] % parts:
                raise ValueError(
                    f"PeriodicTranslation shifts by whole pixels: a {name} of {x.shape[side]} px has no "
                    f"{parts} equal parts. Give a number of parts that divides it, or resize."
                )
        return x.shape[-2] // self.rows, x.shape[-1] // self.columns

    def _apply(self, values: Tensor, motion: Motion) -> Tensor:
        need_images("PeriodicTranslation", values, "n, m, C, H, W")
        high, wide = self._pixels(values)
        steps = self._steps(motion.elements) * (-1 if motion.inverse else 1)
        found = _rolled(values, steps[..., 0] * high, -2)
        return _rolled(found, steps[..., 1] * wide, -1)


def _rolled(values: Tensor, shifts: np.ndarray, axis: int) -> Tensor:
    """Values (sample, column, ...) shifted cyclically along an axis, by (column,) or (sample, column)."""
    size = values.shape[axis]
    coming = (np.arange(size) - shifts[..., None]) % size
    shape = [*(1,) * (3 - coming.ndim), *coming.shape[:-1], *(1,) * (values.ndim - 2)]
    shape[axis] = size
    return values.gather(axis, torch.from_numpy(coming).to(values.device).view(shape).expand(values.shape))
