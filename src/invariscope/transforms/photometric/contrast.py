"""Scaling of values about the mean brightness of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.photometric import Dial, Scaling, luma


@dataclass(frozen=True)
class Contrast(Scaling):
    r"""Scaling of values about the mean brightness of each image, clipped to the range of the image.

    .. math:: t_j x = \mathrm{clip}\big(\mu + f_j\, (x - \mu)\big), \quad
        \mu = \langle 0.299\, R + 0.587\, G + 0.114\, B \rangle

    where the mean is over the pixels of one image. Unless there are three channels, μ is the mean of all
    values. A factor of 0 makes images uniform, and 1 changes nothing. There is no inverse, because clipping
    loses values, and no action on feature maps.

    Caveats: factors above 1 clip dark and bright areas. Images must not be normalised yet:
    normalise in `preprocess=`, which runs after the transform. A model that normalises each image by its own
    mean and deviation undoes a change of contrast.

    Args:
        factors: one factor of at least 0 per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: `factors` is not a list of numbers; an inverse or an action on feature maps is requested.
        ValueError: no factors, or a negative one; values outside the range, as after normalisation.
    Source:
        Contrast as in torchvision's adjust_contrast. Pillow's ImageEnhance rounds μ to a byte, and ImageNet-C
        takes the mean of each channel: `Corruption("contrast")`.

    >>> import torch
    >>> Contrast([1, 0.5, 3]).orbit(torch.tensor([[[[0.25, 0.75]]]]))[0, :, 0, 0]
    tensor([[0.2500, 0.7500],
            [0.3750, 0.6250],
            [0.0000, 1.0000]])
    """

    dial: ClassVar[Dial] = Dial("factors", "contrast_factor", neutral=1.0)

    factors: Sequence[float] = (0.5, 0.8, 1.0, 1.25, 2.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default factors."""
        return (cls(),)

    def _changed(self, images: Tensor, value: float) -> Tensor:
        mean = luma(images).mean((1, 2, 3), keepdim=True)
        return mean + value * (images - mean)
