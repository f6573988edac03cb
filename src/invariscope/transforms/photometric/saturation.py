"""Mixing of colours with grey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.photometric import Dial, Scaling, luma
from invariscope.transforms.machinery.traits import Inputs


@dataclass(frozen=True)
class Saturation(Scaling):
    r"""Scaling of colours about the grey of the same brightness, clipped to the range of the image.

    .. math:: t_j x = \mathrm{clip}\big(g + f_j\, (x - g)\big), \quad g = 0.299\, R + 0.587\, G + 0.114\, B

    where g is computed for each pixel. A factor of 0 makes images grey, and 1 changes nothing. There is no
    inverse, because clipping loses values, and no action on feature maps.

    Caveats: images need three channels, red, green and blue. They must not be normalised yet: normalise in
    `preprocess=`, which runs after the transform.

    Args:
        factors: one factor of at least 0 per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: images without three channels; `factors` is not a list of numbers; an inverse or an action
            on feature maps is requested.
        ValueError: no factors, or a negative one; values outside the range, as after normalisation.
    Source:
        Saturation as in torchvision's adjust_saturation. ImageNet-C scales the saturation of HSV instead:
        `Corruption("saturate")`.

    >>> import torch
    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> Saturation([1, 0]).orbit(red)[0, :, :, 0, 0]
    tensor([[1.0000, 0.0000, 0.0000],
            [0.2990, 0.2990, 0.2990]])
    """

    inputs: ClassVar[Inputs] = Inputs((3, 28, 28), low=0.0, high=1.0)
    dial: ClassVar[Dial] = Dial("factors", "saturation_factor", neutral=1.0)
    channels: ClassVar[tuple[int, ...]] = (3,)

    factors: Sequence[float] = (0.0, 0.5, 1.0, 2.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default factors."""
        return (cls(),)

    def _changed(self, images: Tensor, value: float) -> Tensor:
        grey = luma(images)
        return grey + value * (images - grey)
