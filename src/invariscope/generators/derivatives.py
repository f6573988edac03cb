"""Derivatives of images at their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from invariscope.common.registry import unknown

INTERPOLATIONS = ("spline", "fourier", "bilinear")
_LARGE = 16  # from which a product an image is faster than one for all


@dataclass(frozen=True, eq=False)
class Derivatives:
    r"""Slopes and curvatures of the curve that an interpolation draws through the pixels.

    Slopes of the spline at the pixels are wrong by terms of fourth order, its curvatures s″ by ω²/12 for a
    wave of frequency ω. That is taken away by weighing each with those of its neighbours:

    .. math:: f'' \approx (s''_{k-1} + 10\, s''_k + s''_{k+1}) / 12 = -\omega^2 (1 + O(\omega^4))\, f

    Every wave keeps a curvature: that of the shortest is −8, where −π² is exact and s″ is −12.

    Args:
        images: (row, ..., height, width), floating.
        interpolation: "spline": the cubic B-spline through the pixels, which goes on as a constant beyond the
            edges, without a kink; "fourier": the trigonometric polynomial, for images that repeat;
            "bilinear": its derivative on one side, as automatic differentiation gives it.
    Raises:
        TypeError: no floating images.
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
        check_interpolation(self.interpolation)
        if self.images.ndim < 3 or not self.images.is_floating_point():
            came = f"{tuple(self.images.shape)} of {str(self.images.dtype).removeprefix('torch.')}"
            raise TypeError(f"images (n, C, H, W) of floating values can be moved a little; got {came}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images.shape[-2], self.images.shape[-1]

    @cached_property
    def first(self) -> tuple[Tensor, Tensor]:
        """∂/∂x and ∂/∂y, a pixel."""
        return self._across(1), self._down(1)

    @cached_property
    def second(self) -> tuple[Tensor, Tensor]:
        """∂²/∂x² and ∂²/∂y².

        Raises:
            ValueError: bilinear interpolation, which has none.
        """
        if self.interpolation == "bilinear":
            raise ValueError("bilinear interpolation has no second derivative: take interpolation='spline'")
        return self._across(2), self._down(2)

    def _across(self, order: int) -> Tensor:
        """The derivative along the last axis."""
        if self.interpolation == "spline":
            return functional.linear(self.images, self._matrix(self.size[1], order))
        return self._along(order, self.images)

    def _down(self, order: int) -> Tensor:
        """The derivative along the last axis but one."""
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


def check_interpolation(interpolation: str) -> None:
    """Raises a ValueError for an interpolation that does not exist."""
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", str(interpolation), INTERPOLATIONS)


@lru_cache(maxsize=64)
def _spline_matrix(n: int, order: int) -> np.ndarray:
    """(n, n) from pixels to derivatives by the B-spline through them, mirrored at both ends."""
    if n == 1:
        return np.zeros((1, 1))
    coefficients = np.linalg.inv(_mirrored(n, (1 / 6, 4 / 6, 1 / 6)))
    if order == 1:
        return _mirrored(n, (-0.5, 0.0, 0.5)) @ coefficients
    corrected = _mirrored(n, (1 / 12, 10 / 12, 1 / 12))
    return corrected @ _mirrored(n, (1.0, -2.0, 1.0)) @ coefficients


def _mirrored(n: int, weights: tuple[float, float, float]) -> np.ndarray:
    """(n, n) the weights of the knots before, at and after each pixel."""
    before, here, after = weights
    found = (
        np.diag(np.full(n, here)) + np.diag(np.full(n - 1, before), -1) + np.diag(np.full(n - 1, after), 1)
    )
    found[0, 1] += before
    found[-1, -2] += after
    return found


@lru_cache(maxsize=64)
def _wave_factors(n: int, order: int) -> np.ndarray:
    """What each wave of n pixels is multiplied by; the slope of the shortest one vanishes at the pixels."""
    found = (2j * np.pi * np.fft.rfftfreq(n)) ** order
    if n % 2 == 0 and order == 1:
        found[-1] = 0
    return found


def _right_differences(images: Tensor) -> Tensor:
    """a[k + 1] − a[k] in the cell k that a position falls into, the last pixel repeated beyond the edge.

    Positions are computed as a sampling grid from −1 to 1 gives them: rounding puts some of them a hair to
    the left of their pixel, into the cell before.
    """
    n = images.shape[-1]
    at = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) + 1) / 2 * (n - 1)
    cell = at.floor().long() if n > 1 else at.long()
    ends = [torch.clamp(cell + k, 0, n - 1) for k in (0, 1)]
    return images[..., ends[1]] - images[..., ends[0]]
