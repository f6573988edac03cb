"""Spatial derivatives of images at their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from invariscope.common.checks import refuse_other

INTERPOLATIONS = ("spline", "fourier", "bilinear")
_LARGE = 16  # height or width from which one matrix product per image is faster than one for all images


@dataclass(frozen=True, eq=False)
class Derivatives:
    r"""First and second derivatives of images, from curves that interpolate their rows and columns of pixels.

    First derivatives of the spline at the pixels have errors of fourth order. Its second derivatives s″ have
    a relative error of ω²/12 for a wave of frequency ω, which a weighted mean over neighbours removes:

    .. math:: f'' \approx (s''_{k-1} + 10\, s''_k + s''_{k+1}) / 12 = -\omega^2 (1 + O(\omega^4))\, f

    The corrected second derivative does not vanish for any wave. For the shortest wave, its factor is −8; the
    exact factor is −π², and that of s″ is −12.

    Args:
        images: (row, ..., height, width), floating-point.
        interpolation: "spline" is the cubic B-spline through the pixels, mirrored at the edges; "fourier" is
            the trigonometric polynomial, for periodic images; "bilinear" is the one-sided derivative from
            automatic differentiation.
    Raises:
        TypeError: the images are not floating-point images.
        ValueError: an unknown interpolation.

    Source:
        The weights 1 : 10 : 1: Lucas 1974, SIAM J. Numer. Anal. 11, 569-584.

    >>> ramp = torch.arange(9.0, dtype=torch.float64).expand(1, 1, 9, 9)
    >>> [round(float(Derivatives(ramp, kind).first[0][0, 0, 4, 4]), 3) for kind in ("spline", "bilinear")]
    [0.99, 1.0]
    """

    images: Tensor
    interpolation: str = "spline"

    def __post_init__(self) -> None:
        refuse_other(self, interpolation=INTERPOLATIONS)
        if self.images.ndim < 3 or not self.images.is_floating_point():
            came = f"{tuple(self.images.shape)} of {str(self.images.dtype).removeprefix('torch.')}"
            raise TypeError(f"derivatives need floating-point images (n, C, H, W); got {came}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images.shape[-2], self.images.shape[-1]

    @cached_property
    def first(self) -> tuple[Tensor, Tensor]:
        """∂/∂x and ∂/∂y, per pixel."""
        return self._across(1), self._down(1)

    @cached_property
    def second(self) -> tuple[Tensor, Tensor]:
        """∂²/∂x² and ∂²/∂y², per squared pixel.

        Raises:
            ValueError: for bilinear interpolation.
        """
        if self.interpolation == "bilinear":
            raise ValueError("bilinear interpolation has no second derivative: use interpolation='spline'")
        return self._across(2), self._down(2)

    def _across(self, order: int) -> Tensor:
        """Return the derivative along the last axis."""
        if self.interpolation == "spline":
            return functional.linear(self.images, self._matrix(self.size[1], order))
        return self._along(order, self.images)

    def _down(self, order: int) -> Tensor:
        """Return the derivative along the second-to-last axis."""
        if self.interpolation != "spline":
            return self._along(order, self.images.mT).mT
        matrix = self._matrix(self.size[0], order)
        if max(self.size) >= _LARGE:
            return matrix @ self.images
        return torch.einsum("ij,...jk->...ik", matrix, self.images)  # one product for all small images

    def _matrix(self, n: int, order: int) -> Tensor:
        return torch.from_numpy(_spline_matrix(n, order).copy()).to(self.images)

    def _along(self, order: int, images: Tensor) -> Tensor:
        n = images.shape[-1]
        if self.interpolation == "bilinear":
            return _right_differences(images)
        wave = torch.from_numpy(_wave_factors(n, order)).to(images.device)
        spectrum = torch.fft.rfft(images, dim=-1)
        return torch.fft.irfft(spectrum * wave.to(spectrum.dtype), n=n, dim=-1)


@lru_cache(maxsize=64)
def _spline_matrix(n: int, order: int) -> np.ndarray:
    """Return the matrix (n, n) that maps pixels to derivatives of their spline, mirrored at the ends."""
    if n == 1:
        return np.zeros((1, 1))
    coefficients = np.linalg.inv(_mirrored(n, (1 / 6, 4 / 6, 1 / 6)))
    if order == 1:
        return _mirrored(n, (-0.5, 0.0, 0.5)) @ coefficients
    corrected = _mirrored(n, (1 / 12, 10 / 12, 1 / 12))
    return corrected @ _mirrored(n, (1.0, -2.0, 1.0)) @ coefficients


def _mirrored(n: int, weights: tuple[float, float, float]) -> np.ndarray:
    """Return the matrix (n, n) that weighs the knots before, at and after each pixel."""
    before, here, after = weights
    found = (
        np.diag(np.full(n, here)) + np.diag(np.full(n - 1, before), -1) + np.diag(np.full(n - 1, after), 1)
    )
    found[0, 1] += before
    found[-1, -2] += after
    return found


@lru_cache(maxsize=64)
def _wave_factors(n: int, order: int) -> np.ndarray:
    """Return the factor by which the derivative of this order multiplies each wave of n pixels."""
    found = (2j * np.pi * np.fft.rfftfreq(n)) ** order
    if n % 2 == 0 and order == 1:  # the slope of the shortest wave vanishes at the pixels
        found[-1] = 0
    return found


def _right_differences(images: Tensor) -> Tensor:
    """Return a[k + 1] − a[k] for the cell k of each position, with the last pixel repeated at the edge.

    Positions are those of a sampling grid from −1 to 1, whose rounding puts some of them just to the left of
    their pixel, into the previous cell.
    """
    n = images.shape[-1]
    at = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) + 1) / 2 * (n - 1)
    cell = at.floor().long() if n > 1 else at.long()
    ends = [torch.clamp(cell + k, 0, n - 1) for k in (0, 1)]
    return images[..., ends[1]] - images[..., ends[0]]
