"""Blur by a Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.checks import numbers_from
from invariscope.transforms.machinery.photometric import Dial, Photometric
from invariscope.transforms.machinery.smoothing import smoothed

_LARGEST = 1000.0  # pixels


@dataclass(frozen=True)
class Blur(Photometric):
    r"""Convolution with a Gaussian of given standard deviation, in pixels.

    .. math:: (t_j x)(p) \propto \sum_{|q| \le 4 \sigma_j} e^{-q^2 / 2 \sigma_j^2}\, x(p - q)

    along both axes, with weights that sum to 1. Beyond its border the image is mirrored at the outer edge of
    its border pixels, so the mean stays the same. A deviation of 0 changes nothing. There is no inverse and
    no action on feature maps.

    Caveats: interpolation also blurs, by about half a pixel: compare with `Rotation` and `Translation` at
    fractions of a pixel before concluding what a network is sensitive to. Below about 0.3 px, almost nothing
    changes.

    Args:
        sigmas_px: one standard deviation from 0 to 1000 pixels per element.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: `sigmas_px` is not a list of numbers; an inverse or an action on feature maps is requested.
        ValueError: no deviations, or one out of range; values outside the range, as after normalisation.
    Source:
        scipy.ndimage.gaussian_filter with its defaults: mode "reflect", truncated at 4σ.

    >>> import torch
    >>> dot = torch.zeros(1, 1, 9, 9)
    >>> dot[0, 0, 4, 4] = 1
    >>> blurred = Blur([0, 1]).orbit(dot)[0, 1, 0]
    >>> round(float(blurred.sum()), 4), round(float(blurred[4, 4]), 4)
    (1.0, 0.1592)
    """

    dial: ClassVar[Dial] = Dial("sigmas_px", "blur_sigma_px", neutral=0.0)

    sigmas_px: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return no blur and three strengths."""
        return (cls((0, 0.5, 1, 2)),)

    def _kept(self) -> tuple[float, ...]:
        return numbers_from(0, "sigmas_px", self.sigmas_px, most=_LARGEST)

    def _label(self, value: float) -> str:
        return f"blur {value:.4g} px"

    def _changed(self, images: Tensor, value: float) -> Tensor:
        return smoothed(images, value)
