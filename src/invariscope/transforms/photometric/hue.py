"""Rotation of the hue of all colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from invariscope.common.checks import elements
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import evenly, numbers, positive
from invariscope.transforms.machinery.colours import hue_turned
from invariscope.transforms.machinery.photometric import Dial, Photometric
from invariscope.transforms.machinery.traits import Inputs


@dataclass(frozen=True)
class Hue(Photometric):
    r"""Rotation of the hue of all colours by an angle, at the same saturation and value (HSV).

    .. math:: (h, s, v) \mapsto (h + \theta_j,\; s,\; v)

    with hues in degrees: red is 0°, green 120°, blue 240°. Angles that differ by 360° give the same element,
    and evenly spaced angles around the circle form a group. No value is clipped, so the opposite angle undoes
    an element. There is no action on feature maps.

    Caveats: images need three channels, red, green and blue. Brightness (luma) changes with the hue. Grey
    pixels stay as they are. Images must not be normalised yet: normalise in `preprocess=`, which runs after
    the transform.

    Args:
        degrees: one angle per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: images without three channels; `degrees` is not a list of numbers; an action on feature
            maps is requested.
        ValueError: no angles; values outside the range, as after normalisation.
    Source:
        Hue as in torchvision's adjust_hue, whose factor is the angle divided by 360°.

    >>> import torch
    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> Hue.circle(3).orbit(red)[0, :, :, 0, 0]
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """

    inputs: ClassVar[Inputs] = Inputs((3, 28, 28), low=0.0, high=1.0)
    dial: ClassVar[Dial] = Dial("degrees", "hue_deg", 0.0, opposite=lambda angle: 0.0 - angle, period=360.0)
    channels: ClassVar[tuple[int, ...]] = (3,)

    degrees: Sequence[float] = (-30.0, -15.0, 0.0, 15.0, 30.0)

    @classmethod
    def circle(cls, m: int, **options: Any) -> Hue:
        """Return `m` evenly spaced angles around the circle, from 0°; they form a cyclic group."""
        return cls([360.0 * k / m for k in range(elements("m", m))], **options)

    @classmethod
    def within(cls, reach_deg: float, m: int = 13, **options: Any) -> Hue:
        """Return `m` angles from `-reach_deg` to `reach_deg`, evenly spaced; if m is odd, one is 0°."""
        reach = positive("reach_deg", reach_deg)
        return cls(evenly(-reach, reach, m), **options)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return a circle, and angles on both sides of the identity."""
        return cls.circle(6), cls.within(20, 3)

    def _kept(self) -> tuple[float, ...]:
        return numbers("degrees", self.degrees, "Write Hue.circle(6) or Hue([0, 30])?")

    def _label(self, value: float) -> str:
        return f"hue {value:+.4g}°" if value else "hue 0°"

    def _changed(self, images: Tensor, value: float) -> Tensor:
        return hue_turned(images, value)
