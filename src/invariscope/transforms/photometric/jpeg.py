"""JPEG compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import numbers_from
from invariscope.transforms.machinery.compression import jpeg
from invariscope.transforms.machinery.photometric import Dial, Photometric
from invariscope.transforms.machinery.traits import Inputs


@dataclass(frozen=True)
class JPEG(Photometric):
    """Compression to JPEG and decompression, at given qualities.

    .. math:: t_j x = \\mathrm{decode}(\\mathrm{encode}(x;\\, q_j))

    by Pillow, with its default chroma subsampling (4:2:0). Values are rounded to 8 bits first. No quality
    leaves images unchanged, so no element is the identity; measures that need one compare with the
    uncompressed image. There is no inverse, no action on feature maps and no gradient.

    Caveats: most photographs have been compressed before, and compressing them again at the same quality
    changes little. Pixels can differ by 1/255 between versions of the JPEG library.

    Args:
        qualities: one whole number from 1 (worst) to 100 per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: images without 1 or 3 channels; images that require a gradient; an inverse or an action on
            feature maps is requested.
        ValueError: no qualities, or one out of range; values outside the range, as after normalisation.
    Source:
        Pillow's JPEG encoder, https://pillow.readthedocs.io.

    >>> import torch
    >>> flat = torch.full((1, 1, 8, 8), 128 / 255)
    >>> bool(torch.equal(JPEG([50]).orbit(flat)[:, 0], flat))
    True
    """

    inputs: ClassVar[Inputs] = Inputs((3, 28, 28), low=0.0, high=1.0, gradients=False)
    dial: ClassVar[Dial] = Dial("qualities", "jpeg_quality", neutral=None)
    channels: ClassVar[tuple[int, ...]] = (1, 3)

    qualities: Sequence[float] = (90, 70, 50, 30, 10)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the default qualities."""
        return (cls(),)

    def _kept(self) -> tuple[float, ...]:
        found = numbers_from(1, "qualities", self.qualities, most=100)
        for k, quality in enumerate(found):
            if quality != round(quality):
                raise ValueError(f"qualities[{k}] must be a whole number; got {quality:g}.")
        return found

    def _label(self, value: float) -> str:
        return f"JPEG {value:g}"

    def _changed(self, images: Tensor, value: float) -> Tensor:
        return jpeg(images, int(value))
