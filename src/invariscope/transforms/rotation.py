"""Rotation by arbitrary angles about the image's centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import elements, shown
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import evenly, number, numbers, positive
from invariscope.transforms.machinery.jittered import Jittered, Numbers
from invariscope.transforms.machinery.matrices import rotated


@dataclass(frozen=True)
class Rotation(Jittered):
    r"""Rotation about the image's centre, in degrees, counter-clockwise as seen in the image.

    .. math:: (t_j x)(p) = x(R_{-\theta_j}\, p), \quad \theta_{ij} = \theta_j + \epsilon_{ij}

    with p in pixels from the centre ((W − 1)/2, (H − 1)/2), so rectangles are rotated without distortion and
    keep their canvas. Without jitter, ε is 0; otherwise it is uniform on ± `jitter_deg` and depends only on
    (seed, sample key, element). Multiples of 90° are bit-exact on squares, and multiples of 180° on all
    images.

    Caveats: corners leave the image and padding comes in, so part of the effect is a reaction to missing
    corners. Interpolation blurs the image at all angles except the exact ones, and a network may react to the
    blur; `round_trip` shows how strong it is. Angles of 0° and 360° list the same rotation twice.

    Args:
        degrees: one angle per element; 16 around the circle by default.
        jitter_deg: half-width of the uniform draw that is added to each angle.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: `degrees` is not a list of numbers.
        ValueError: no angles, a non-finite angle, a negative jitter, an unknown option.
    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9: 16 angles with a jitter of one degree.

    >>> Rotation.circle(16).labels[:3]
    ('0°', '22.5°', '45°')
    >>> import torch
    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> Rotation([90]).orbit(image)[0, 0, 0]
    tensor([[2., 4.],
            [1., 3.]])
    """

    numbers: ClassVar[Numbers] = Numbers("degrees", "jitter_deg", ("angle_deg",), period=360.0)

    degrees: Sequence[float] = tuple(22.5 * k for k in range(16))
    _: KW_ONLY
    jitter_deg: float = 0.0

    @classmethod
    def circle(cls, m: int, *, start_deg: float = 0.0, jitter_deg: float = 0.0, **sampling: Any) -> Rotation:
        """Return `m` evenly spaced angles around the circle; they form a cyclic group if `start_deg` is 0."""
        start = number("start_deg", start_deg)
        degrees = [start + 360.0 * k / m for k in range(elements("m", m))]
        return cls(degrees, jitter_deg=jitter_deg, **sampling)

    @classmethod
    def range(cls, lo: float, hi: float, m: int, *, jitter_deg: float = 0.0, **sampling: Any) -> Rotation:
        """Return `m` evenly spaced angles from `lo` to `hi`, both included."""
        return cls(evenly(lo, hi, m), jitter_deg=jitter_deg, **sampling)

    @classmethod
    def within(cls, reach_deg: float, m: int = 13, **sampling: Any) -> Rotation:
        """Return `m` evenly spaced angles from `-reach_deg` to `reach_deg`, both included.

        The default of 13 angles within 30° is a step of 5°. If m is odd, the middle element is the identity;
        if m is even, 0° is not among the angles. They are no group, unlike those of `circle`.

        >>> Rotation.within(30, 5).labels
        ('-30°', '-15°', '0°', '15°', '30°')
        """
        reach = positive("reach_deg", reach_deg)
        return cls(evenly(-reach, reach, m), **sampling)

    @classmethod
    def uniform(cls, m: int, **sampling: Any) -> Rotation:
        """Return `m` angles drawn per sample, uniform around the circle: the Haar measure of SO(2)."""
        return cls([0.0] * elements("m", m), jitter_deg=180.0, **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a circle, a range with jitter, and a list of angles."""
        few = cls([0, 90, -17.5], interpolation="bicubic")
        return cls.circle(8), cls.range(-30, 30, 4, jitter_deg=2), few

    def _labels(self, *, jittered: bool) -> Sequence[str]:
        spread = f" ± {self.jitter_deg:g}°" if jittered else ""
        return [f"{angle:g}°{spread}" for angle in self.degrees]

    def _kept(self) -> tuple[float, ...]:
        given: Any = self.degrees
        return numbers("degrees", given, f"Rotation.circle({shown(given)}) or Rotation([{shown(given)}])?")

    def _maps(self, numbers: np.ndarray) -> np.ndarray:
        return rotated(numbers)
