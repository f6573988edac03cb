"""Rotation by any angles about the image's centre."""

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
from invariscope.transforms.machinery.checks import number, numbers
from invariscope.transforms.machinery.matrices import rotated
from invariscope.transforms.machinery.sliding import Slider, _Sliding


@dataclass(frozen=True)
class Rotation(_Sampled, _Sliding):
    r"""Rotation about the image's centre, counter-clockwise as seen, in degrees.

    .. math:: (t_j x)(p) = x(R_{-\theta_j}\, p), \quad \theta_{ij} = \theta_j + \epsilon_{ij}

    with p in pixels from the centre ((W − 1)/2, (H − 1)/2), so rectangles turn without distortion and keep
    their canvas. Without jitter ε is 0; with it, ε is uniform on ± `jitter_deg`, drawn for each (seed, sample
    index, element). Multiples of 90° are bit-exact on squares, those of 180° on all images.

    Misleads: corners leave the image and come in from the padding, so some of what is measured is the
    reaction to a missing corner; interpolation blurs every other angle but the exact ones, and a network may
    react to the blur. `round_trip` shows how much. Angles 0° and 360° are one rotation listed twice.

    Args:
        degrees: one angle an element; 16 around the circle by default.
        jitter_deg: half-width of the uniform draw added to each angle.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: no list of numbers.
        ValueError: no angle, an angle that is not finite, a negative jitter, an unknown option.
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

    degrees: Sequence[float] = tuple(22.5 * k for k in range(16))
    _: KW_ONLY
    jitter_deg: float = 0.0

    @classmethod
    def circle(cls, m: int, *, start_deg: float = 0.0, jitter_deg: float = 0.0, **sampling: Any) -> Rotation:
        """`m` angles evenly around the circle, from `start_deg` on: a cyclic group where that is 0."""
        start = number("start_deg", start_deg)
        degrees = [start + 360.0 * k / m for k in range(integer("m", m))]
        return cls(degrees, jitter_deg=jitter_deg, **sampling)

    @classmethod
    def range(cls, lo: float, hi: float, m: int, *, jitter_deg: float = 0.0, **sampling: Any) -> Rotation:
        """`m` angles from `lo` to `hi`, both included."""
        degrees = np.linspace(number("lo", lo), number("hi", hi), integer("m", m))
        return cls(degrees.tolist(), jitter_deg=jitter_deg, **sampling)

    @classmethod
    def uniform(cls, m: int, **sampling: Any) -> Rotation:
        """`m` angles drawn for each sample, uniform around the circle: SO(2), with its Haar measure."""
        return cls([0.0] * integer("m", m), jitter_deg=180.0, **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """A circle, a range with jitter, and a list of angles."""
        return (
            cls.circle(8),
            cls.range(-30, 30, 4, jitter_deg=2),
            cls([0, 90, -17.5], interpolation="bicubic"),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The angles, such as "22.5°"."""
        spread = f" ± {self.jitter_deg:g}°" if self.jitter_deg else ""
        return tuple(f"{angle:g}°{spread}" for angle in self.degrees)

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The angles, `angle_deg`."""
        return {"angle_deg": tuple(self.degrees)}

    @property
    def per_sample(self) -> bool:
        """Whether the angles are jittered."""
        return self.jitter_deg > 0

    @property
    def slider(self) -> Slider | None:
        """The angle, unless it is jittered."""
        return None if self.per_sample else Slider("angle_deg", tuple(self.degrees), self._at, period=360.0)

    def _at(self, values: Sequence[float]) -> Transform:
        return replace(self, degrees=tuple(values))

    def inverse(self) -> Transform:
        """The same angles the other way round; with jitter, undoing the very same draws."""
        return (
            Inverse(self) if self.per_sample else replace(self, degrees=tuple(-a + 0.0 for a in self.degrees))
        )

    def _validated(self) -> dict[str, Any]:
        jitter = number("jitter_deg", self.jitter_deg)
        if jitter < 0:
            raise ValueError(f"jitter_deg is the half-width of a draw, at least 0; got {jitter:g}.")
        return {"degrees": numbers("degrees", self.degrees), "jitter_deg": jitter}

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        degrees = np.asarray(self.degrees)[elements]
        if draws is not None:
            degrees = degrees + self.jitter_deg * (2 * draws.uniform() - 1)
        return rotated(degrees)
