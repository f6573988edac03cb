"""Translation by pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import bounded, elements, integer, shown
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import choice, evenly, need_range, number, numbers
from invariscope.transforms.machinery.jittered import Jittered, Numbers
from invariscope.transforms.machinery.matrices import shifted

Shift = tuple[float, float]


@dataclass(frozen=True)
class Translation(Jittered):
    """Shifts in pixels: dx to the right, dy down.

    .. math:: (t_j x)(r, c) = x(r - dy_j,\\; c - dx_j)

    Shifts by whole pixels are bit-exact; others are interpolated. Padding fills the uncovered area. On a
    feature map of a different resolution, the shift is scaled by the ratio of the sizes.

    There is no group table: content that leaves the image does not come back, so the shifts are not a finite
    group.

    Caveats: an object that is cut off by the border is a different input, not a shifted one; keep shifts
    below the margin around the objects. A network with stride s can be exactly equivariant only to shifts by
    multiples of s.

    Args:
        shifts_px: (dx, dy) per element; 3 × 3 shifts by 2 pixels by default.
        jitter_px: half-width of the uniform draws that are added to dx and dy, per (seed, sample key,
            element).
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: `shifts_px` is not a list of pairs of numbers.
        ValueError: no shifts, a non-finite shift, an unknown option.

    >>> import torch
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> Translation([(1, 0)]).orbit(row)[0, 0, 0]
    tensor([[0., 1., 2.]])
    >>> Translation.range(-3, 3, 3).labels
    ('-3 px', '0 px', '+3 px')
    """

    numbers: ClassVar[Numbers] = Numbers("shifts_px", "jitter_px", ("shift_x_px", "shift_y_px"))

    shifts_px: Sequence[Sequence[float]] = tuple((dx, dy) for dy in (-2, 0, 2) for dx in (-2, 0, 2))
    _: KW_ONLY
    jitter_px: float = 0.0

    @classmethod
    def range(
        cls, lo: float, hi: float, m: int, *, direction: str = "horizontal", **sampling: Any
    ) -> Translation:
        """Return `m` evenly spaced shifts from `lo` to `hi` pixels, both included, along one direction."""
        choice("direction", direction, ("horizontal", "vertical"))
        across = direction == "horizontal"
        return cls([(s, 0.0) if across else (0.0, s) for s in evenly(lo, hi, m)], **sampling)

    @classmethod
    def grid(cls, radius: int, *, step: int = 1, **sampling: Any) -> Translation:
        """Return all shifts by multiples of `step`, up to `radius` pixels in each direction, row by row."""
        if integer("radius", radius) < integer("step", step):
            raise ValueError(f"step must not exceed radius; got {step} px and {radius} px.")
        reach = radius // step
        elements(f"the number of shifts up to radius={radius}", (2 * reach + 1) ** 2)
        steps = [step * k for k in range(-reach, reach + 1)]
        return cls([(dx, dy) for dy in steps for dx in steps], **sampling)

    @classmethod
    def uniform(cls, m: int, reach_px: float | None = None, **sampling: Any) -> Translation:
        """Return `m` shifts drawn per sample, dx and dy uniform up to `reach_px` pixels each way.

        Raises:
            ValueError: `reach_px` is missing.
        """
        need_range("Translation", "Translation.uniform(8, 3), up to 3 px each way", reach_px)
        return cls([(0.0, 0.0)] * elements("m", m), jitter_px=number("reach_px", reach_px), **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a grid of whole-pixel shifts, shifts by fractions of a pixel, and random shifts."""
        fractions = cls.range(-1.5, 1.5, 4, direction="vertical", padding="reflection")
        return cls.grid(1), fractions, cls.uniform(3, 2)

    def _labels(self, *, jittered: bool) -> Sequence[str]:
        if not jittered and all(dy == 0 for _, dy in self.shifts_px):
            return [f"{_signed(dx)} px" for dx, _ in self.shifts_px]
        spread = f" ± {self.jitter_px:g} px" if jittered else " px"
        return [f"({_signed(dx)}, {_signed(dy)}){spread}" for dx, dy in self.shifts_px]

    def _kept(self) -> tuple[Shift, ...]:
        shifts: Any = self.shifts_px
        if isinstance(shifts, str) or not hasattr(shifts, "__iter__"):
            raise TypeError(
                f"shifts_px must be a list of (dx, dy) pairs, one per element; got {shown(shifts)}."
            )
        found = tuple(_pair(f"shifts_px[{k}]", shift) for k, shift in enumerate(bounded("shifts_px", shifts)))
        if not found:
            raise ValueError("shifts_px is empty: a transform needs at least one element.")
        return found

    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        return shifted(numbers[..., 0], numbers[..., 1])


def _pair(name: str, shift: Any) -> Shift:
    if isinstance(shift, str) or not hasattr(shift, "__len__") or len(shift) != 2:
        raise TypeError(f"{name} must be a pair (dx, dy), dx to the right, dy down; got {shift!r}.")
    dx, dy = numbers(name, shift)
    return dx, dy


def _signed(pixels: float) -> str:
    return f"{pixels:+g}" if pixels else "0"
