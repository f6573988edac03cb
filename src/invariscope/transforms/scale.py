"""Magnification about the image's centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import elements
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import evenly, need_range, number, numbers
from invariscope.transforms.machinery.jittered import Jittered, Numbers
from invariscope.transforms.machinery.matrices import linear

_SMALLEST = 1e-6  # of a factor; the largest is its reciprocal


@dataclass(frozen=True)
class Scale(Jittered):
    """Magnification about the image's centre, on the same canvas.

    .. math:: (t_j x)(p) = x(p / s_j)

    with p in pixels from the centre: a factor of 2 doubles all sizes, and 0.5 halves them.

    Caveats: images are not low-pass filtered before shrinking, so factors far below 1 alias. Enlarging moves
    the border out of the image and shrinking brings in padding, so part of the effect is a reaction to the
    border and the padding.

    Args:
        factors: one positive factor per element.
        jitter: factors are multiplied by draws from 1/jitter to jitter, uniform in the logarithm, per (seed,
            sample key, element); 1 for none.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: `factors` is not a list of numbers.
        ValueError: no factors, a factor that is not finite and positive, an unknown option.

    >>> Scale.range(0.5, 2, 3).labels
    ('× 0.5', '× 1', '× 2')
    """

    numbers: ClassVar[Numbers] = Numbers("factors", "jitter", ("scale",), factors=True)

    factors: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.25)
    _: KW_ONLY
    jitter: float = 1.0

    @classmethod
    def range(cls, lo: float, hi: float, m: int, **sampling: Any) -> Scale:
        """Return `m` factors from `lo` to `hi`, both included, with equal ratios."""
        return cls(evenly(_positive("lo", lo), _positive("hi", hi), m, np.geomspace), **sampling)

    @classmethod
    def uniform(cls, m: int, lo: float | None = None, hi: float | None = None, **sampling: Any) -> Scale:
        """Return `m` factors drawn per sample from `lo` to `hi`, uniform in the logarithm.

        Raises:
            ValueError: no range, or `hi` is not greater than `lo`.
        """
        need_range("Scale", "Scale.uniform(8, 0.8, 1.25)", lo, hi)
        low, high = _positive("lo", lo), _positive("hi", hi)
        if high <= low:
            raise ValueError(f"hi must be greater than lo; got lo={low:g} and hi={high:g}.")
        middle = float(np.sqrt(low * high))
        return cls([middle] * elements("m", m), jitter=float(np.sqrt(high / low)), **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default factors, a smooth range, and draws."""
        smooth = cls.range(0.9, 1.2, 3, interpolation="bicubic", padding="border")
        return cls(), smooth, cls.uniform(2, 0.8, 1.25)

    def _labels(self, *, jittered: bool) -> Sequence[str]:
        spread = f" ×÷ {self.jitter:.4g}" if jittered else ""
        return [f"× {factor:.4g}{spread}" for factor in self.factors]

    def _kept(self) -> tuple[float, ...]:
        found = numbers("factors", self.factors)
        return tuple(_positive(f"factors[{k}]", factor) for k, factor in enumerate(found))

    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        return linear(numbers, 0, 0, numbers)


def _positive(name: str, value: Any) -> float:
    factor = number(name, value)
    if factor == 0:
        raise ValueError(f"{name} is 0, which would shrink the image to a point: give a positive factor.")
    if factor < 0:
        raise ValueError(
            f"{name} is negative, {factor:g}: combine Scale with Rotation([180]) or Flip instead."
        )
    if not _SMALLEST <= factor <= 1 / _SMALLEST:
        raise ValueError(f"{name} must be from {_SMALLEST:g} to {1 / _SMALLEST:g}; got {factor:g}.")
    return factor
