"""Larger and smaller about the image's centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from invariscope.common.checks import integer
from invariscope.common.draws import Draws
from invariscope.transforms.base import Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import _Sampled
from invariscope.transforms.machinery.checks import need_range, number, numbers
from invariscope.transforms.machinery.matrices import linear
from invariscope.transforms.machinery.sliding import Slider, _Sliding


@dataclass(frozen=True)
class Scale(_Sampled, _Sliding):
    """Magnification about the image's centre; the canvas stays.

    .. math:: (t_j x)(p) = x(p / s_j)

    A factor of 2 shows everything twice as large, 0.5 half as large, with p in pixels from the centre.

    Misleads: no low-pass filter comes before shrinking, so factors much below 1 alias; enlarging pushes the
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

    factors: Sequence[float] = (0.8, 0.9, 1.0, 1.1, 1.25)
    _: KW_ONLY
    jitter: float = 1.0

    @classmethod
    def range(cls, lo: float, hi: float, m: int, **sampling: Any) -> Scale:
        """`m` factors from `lo` to `hi`, both included, each the same multiple of the one before."""
        ends = _positive("lo", number("lo", lo)), _positive("hi", number("hi", hi))
        return cls(np.geomspace(*ends, integer("m", m)).tolist(), **sampling)

    @classmethod
    def uniform(cls, m: int, lo: float | None = None, hi: float | None = None, **sampling: Any) -> Scale:
        """`m` factors drawn for each sample from `lo` to `hi`, uniform in the logarithm.

        Raises:
            ValueError: no range, as scales have no end; or one whose ends are in the wrong order.
        """
        need_range("Scale", "Scale.uniform(8, 0.8, 1.25)", lo, hi)
        low, high = _positive("lo", number("lo", lo)), _positive("hi", number("hi", hi))
        if high <= low:
            raise ValueError(f"factors are drawn from lo to hi, the larger; got {low:g} and {high:g}.")
        middle = float(np.sqrt(low * high))
        return cls([middle] * integer("m", m), jitter=float(np.sqrt(high / low)), **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Smaller, the same and larger; and draws."""
        smooth = cls.range(0.9, 1.2, 3, interpolation="bicubic", padding="border")
        return cls(), smooth, cls.uniform(2, 0.8, 1.25)

    @property
    def labels(self) -> tuple[str, ...]:
        """The factors, such as "× 0.5"."""
        spread = f" ×÷ {self.jitter:.4g}" if self.per_sample else ""
        return tuple(f"× {factor:.4g}{spread}" for factor in self.factors)

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The factors, `scale`."""
        return {"scale": tuple(self.factors)}

    @property
    def per_sample(self) -> bool:
        """Whether the factors are jittered."""
        return self.jitter > 1

    @property
    def slider(self) -> Slider | None:
        """The factor, unless it is jittered."""
        return None if self.per_sample else Slider("scale", tuple(self.factors), self._at)

    def _at(self, values: Sequence[float]) -> Transform:
        return replace(self, factors=tuple(values))

    def inverse(self) -> Transform:
        """The reciprocal factors; with jitter, undoing the very same draws."""
        if self.per_sample:
            return Inverse(self)
        return replace(self, factors=tuple(1 / factor for factor in self.factors))

    def _validated(self) -> dict[str, Any]:
        found = numbers("factors", self.factors)
        jitter = number("jitter", self.jitter)
        if jitter < 1:
            raise ValueError(f"jitter is the largest factor of a draw, at least 1; got {jitter:g}.")
        factors = tuple(_positive(f"factors[{k}]", factor) for k, factor in enumerate(found))
        return {"factors": factors, "jitter": jitter}

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        factors = np.array(self.factors)[elements]
        if draws is not None:
            factors = factors * self.jitter ** (2 * draws.uniform() - 1)
        return linear(factors, np.array(0), np.array(0), factors)


def _positive(name: str, factor: float) -> float:
    if factor == 0:
        raise ValueError(f"{name} is 0: it would shrink the image to a point, which nothing undoes.")
    if factor < 0:
        raise ValueError(
            f"{name} is negative, {factor:g}: combine Scale with Rotation([180]) or Flip instead."
        )
    return factor
