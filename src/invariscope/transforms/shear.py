"""Shears of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import elements
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import choice, evenly, need_range, number, numbers
from invariscope.transforms.machinery.jittered import Jittered, Numbers
from invariscope.transforms.machinery.matrices import linear


@dataclass(frozen=True)
class Shear(Jittered):
    """Shear about the image's centre: rows or columns slide past each other.

    .. math:: (u, v) \\mapsto (u + k_j v,\\; v) \\quad\\text{or}\\quad (u, v) \\mapsto (u,\\; v + k_j u)

    with u to the right and v *up*, in pixels from the centre. For positive k, "horizontal" (the first) slants
    upright strokes to the right, like italics, and "vertical" (the second) lifts the right side.

    Caveats: a shear by k also stretches along one diagonal and rotates by about atan(k)/2; invariance to it
    mixes all three.

    Args:
        factors: one per element, in pixels per pixel: the tangent of the slant.
        direction: "horizontal" or "vertical".
        jitter: half-width of the uniform draw that is added to each factor, per (seed, sample key, element).
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: `factors` is not a list of numbers.
        ValueError: no factors, a non-finite factor, an unknown option, an angle of 90° or more.

    >>> Shear.degrees([-45, 0, 45]).labels
    ('-1', '0', '+1')
    """

    numbers: ClassVar[Numbers] = Numbers("factors", "jitter", ("shear",))

    factors: Sequence[float] = (-0.4, -0.2, 0.0, 0.2, 0.4)
    direction: str = "horizontal"
    _: KW_ONLY
    jitter: float = 0.0

    @classmethod
    def degrees(cls, angles: Sequence[float], **options: Any) -> Shear:
        """Return shears with slants given in degrees, between -90 and 90."""
        found = numbers("angles", angles)
        steep = [angle for angle in found if abs(angle) >= 90]
        if steep:
            raise ValueError(f"a slant must lie between -90° and 90°; got {steep[0]:g}°.")
        return cls([float(np.round(np.tan(np.deg2rad(angle)), 15)) for angle in found], **options)

    @classmethod
    def range(cls, lo: float, hi: float, m: int, **options: Any) -> Shear:
        """Return `m` evenly spaced factors from `lo` to `hi`, both included."""
        return cls(evenly(lo, hi, m), **options)

    @classmethod
    def uniform(cls, m: int, reach: float | None = None, **options: Any) -> Shear:
        """Return `m` factors drawn per sample, uniform from −reach to reach.

        Raises:
            ValueError: `reach` is missing.
        """
        need_range("Shear", "Shear.uniform(8, 0.3), factors from −0.3 to 0.3", reach)
        return cls([0.0] * elements("m", m), jitter=number("reach", reach), **options)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return both directions, and draws."""
        upright = cls.degrees([-15, 0, 10], direction="vertical", padding="border")
        return cls(), upright, cls.uniform(2, 0.3)

    def _labels(self, *, jittered: bool) -> Sequence[str]:
        spread = f" ± {self.jitter:.4g}" if jittered else ""
        return [(f"{factor:+.4g}" if factor else "0") + spread for factor in self.factors]

    def _kept(self) -> tuple[float, ...]:
        choice("direction", self.direction, ("horizontal", "vertical"))
        return numbers("factors", self.factors)

    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        slide = -numbers  # rows count downwards
        return linear(1, slide, 0, 1) if self.direction == "horizontal" else linear(1, 0, slide, 1)
