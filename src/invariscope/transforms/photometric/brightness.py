"""Multiplication of all values by a factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.photometric import Dial, Scaling


@dataclass(frozen=True)
class Brightness(Scaling):
    r"""Multiplication of all values by a factor, clipped to the range of the image.

    .. math:: t_j x = \min(f_j\, x,\; 1)

    for values from 0 (black) to 1 (white); other ranges are rescaled. A factor of 0 makes images black, 1
    changes nothing, and 2 doubles values. There is no inverse, because clipping loses values, and no action
    on feature maps.

    Caveats: factors above 1 clip bright areas to white, so they also remove contrast there. Images must not
    be normalised yet: normalise in `preprocess=`, which runs after the transform.

    Args:
        factors: one factor of at least 0 per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: `factors` is not a list of numbers; an inverse or an action on feature maps is requested.
        ValueError: no factors, or a negative one; values outside the range, as after normalisation.
    Source:
        Brightness as in Pillow's ImageEnhance and torchvision's adjust_brightness, without rounding to bytes.

    >>> import torch
    >>> Brightness([1, 0.5, 2]).orbit(torch.tensor([[[[0.2, 0.8]]]]))[0, :, 0, 0]
    tensor([[0.2000, 0.8000],
            [0.1000, 0.4000],
            [0.4000, 1.0000]])
    """

    dial: ClassVar[Dial] = Dial("factors", "brightness_factor", neutral=1.0)

    factors: Sequence[float] = (0.5, 0.8, 1.0, 1.25, 2.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default factors, and factors for values from -1 to 1."""
        return cls(), cls([0.9, 1.0], low=-1)

    def _changed(self, images: Tensor, value: float) -> Tensor:
        return images * value
