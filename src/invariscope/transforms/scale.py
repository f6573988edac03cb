"""Larger and smaller about the image's centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import integer
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import evenly, need_range, number, numbers
from invariscope.transforms.machinery.jittered import Jittered, Numbers
from invariscope.transforms.machinery.matrices import linear


@dataclass(frozen=True)
class Scale(Jittered):
    """Magnification about the image's centre; the canvas stays.

    .. math:: (t_j x)(p) = x(p / s_j)

    A factor of 2 shows everything twice as large, 0.5 half as large, with p in pixels from the centre.

    Caveats: no low-pass filter comes before shrinking, so factors much below 1 alias; enlarging pushes the
    rim out of the image, shrinking brings padding in. Some of what is measured is the reaction to that.

    Args:
        factors: one an element, positive.
        jitter: each factor is multiplied by a draw between 1/jitter and jitter, its logarithm uniform, for
            each (seed, sample index, element); 1 for none.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: no list of numbers.
        ValueError: no factor, one that is not finite or not positive, an unknown option.

    >>> Scale.range(0.5, 2, 3).labels
    ('× 0.5', '× 1', '× 2')
    """

    numbers: ClassVar[Numbers] = Numbers("factors", "jitter", ("scale",), factors=True)

    factors: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.25)
    _: KW_ONLY
    jitter: float = 1.0

    @classmethod
    def range(cls, lo: float, hi: float, m: int, **sampling: Any) -> Scale:
        """`m` factors from `lo` to `hi`, both included, each the same multiple of the one before."""
        return cls(evenly(_positive("lo", lo), _positive("hi", hi), m, np.geomspace), **sampling)

    @classmethod
    def uniform(cls, m: int, lo: float | None = None, hi: float | None = None, **sampling: Any) -> Scale:
        """`m` factors drawn for each sample from `lo` to `hi`, uniform in the logarithm.

        Raises:
            ValueError: no range, as scales have no end; or one whose ends are in the wrong order.
        """
        need_range("Scale", "Scale.uniform(8, 0.8, 1.25)", lo, hi)
        low, high = _positive("lo", lo), _positive("hi", hi)
        if high <= low:
            raise ValueError(f"factors are drawn from lo to hi, the larger; got {low:g} and {high:g}.")
        middle = float(np.sqrt(low * high))
        return cls([middle] * integer("m", m), jitter=float(np.sqrt(high / low)), **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return smaller, the same and larger; and draws."""
        smooth = cls.range(0.9, 1.2, 3, interpolation="bicubic", padding="border")
        return cls(), smooth, cls.uniform(2, 0.8, 1.25)

    def _labels(self, *, jittered: bool) -> Sequence[str]:
        spread = f" ×÷ {self.jitter:.4g}" if jittered else ""
        return [f"× {factor:.4g}{spread}" for factor in self.factors]

    def _kept(self) -> tuple[float, ...]:
        found = numbers("factors", self.factors)
        return tuple(_positive(f"factors[{k}]", factor) for k, factor in enumerate(found))

    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        return linear(numbers, np.array(0), np.array(0), numbers)


def _positive(name: str, value: Any) -> float:
    factor = number(name, value)
    if factor == 0:
        raise ValueError(f"{name} is 0: it would shrink the image to a point, which nothing undoes.")
    if factor < 0:
        raise ValueError(
            f"{name} is negative, {factor:g}: combine Scale with Rotation([180]) or Flip instead."
        )
    return factor
