"""Smooth fields from sine coefficients, and images warped by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invariscope.common.checks import refuse_other

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

INTERPOLATIONS = ("bilinear", "cubic", "gaussian")
SCALES = ("n-1", "n")
SIGMA_PX = 0.4715
# Gaussian weights beyond this number of pixels are below the rounding error of the dtype.
_REACH = {torch.float32: 3, torch.float64: 4}


@dataclass(frozen=True)
class Warp:
    """Interpolation at displaced positions.

    Args:
        interpolation: "bilinear", "cubic" (the interpolating B-spline) or "gaussian" (normalised weights of
            width 0.4715 pixels over the surrounding pixels).
        scale: pixels per unit of the field: "n-1" or "n".
    """

    interpolation: str = "bilinear"
    scale: str = "n-1"

    def __post_init__(self) -> None:
        refuse_other(self, interpolation=INTERPOLATIONS, scale=SCALES)

    def pixels(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return the pixels per unit along (x, y)."""
        height, width = size
        return (width - 1.0, height - 1.0) if self.scale == "n-1" else (float(width), float(height))


def field_of(
    coefficients: Float[Tensor, "row 2 i j"], size: tuple[int, int], warp: Warp
) -> Float[Tensor, "row 2 height width"]:
    """Return the displacement in pixels, along x and then along y."""
    x, y = warp.pixels(size)
    return _affine_minus(coefficients, size, (0.0, 0.0), (-x, -y)).permute(0, 3, 1, 2)


def gradient_of(
    coefficients: Float[Tensor, "row 2 i j"], size: tuple[int, int]
) -> Float[Tensor, "row 2 2 height width"]:
    """Return ∂τ_a/∂s_b in unit coordinates on a grid over the image, (row, a, b, height, width)."""
    height, width = size
    modes = coefficients.shape[-1]
    x, y = (_waves(np.sin, modes, n).to(coefficients) for n in (width, height))
    dx, dy = (_slopes(modes, n).to(coefficients) for n in (width, height))
    along = torch.einsum("raij,iw,jh->rahw", coefficients, dx, y)
    across = torch.einsum("raij,iw,jh->rahw", coefficients, x, dy)
    return torch.stack([along, across], dim=2)


def folds(coefficients: Float[Tensor, "row 2 i j"]) -> Bool[Tensor, " row"]:
    """Return whether det(I − ∇τ) ≤ 0 anywhere on a grid of at least 33 points per side, 8 per half wave."""
    side = max(32, 8 * coefficients.shape[-1]) + 1
    u = gradient_of(coefficients.detach(), (side, side))
    determinant = (1 - u[:, 0, 0]) * (1 - u[:, 1, 1]) - u[:, 0, 1] * u[:, 1, 0]
    return (determinant <= 0).flatten(1).any(dim=1)


def warped(
    images: Float[Tensor, "row plane height width"], coefficients: Float[Tensor, "row 2 i j"], warp: Warp
) -> Float[Tensor, "row plane height width"]:
    """Read each row of images at s − τ(s); all planes of a row share its field.

    Positions are clamped to the image. The result is differentiable in images and coefficients, and computed
    in float32, or in float64 for float64 images.
    """
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    work, sines = images.to(dtype), coefficients.to(images.device, dtype)
    with torch.autocast(_autocast_kind(images), enabled=False):  # positions need full precision
        return _READERS[warp.interpolation](work, sines, warp).to(images.dtype)


def _autocast_kind(images: Tensor) -> str:
    kind = images.device.type
    return kind if torch.amp.is_autocast_available(kind) else "cpu"


def _read_bilinear(images: Tensor, coefficients: Tensor, warp: Warp) -> Tensor:
    size = (images.shape[-2], images.shape[-1])
    x, y = (pixels * 2 / (n - 1) for pixels, n in zip(warp.pixels(size), size[::-1], strict=True))
    grid = _affine_minus(coefficients, size, (1.0, 1.0), (x, y), start=-1.0)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _read_cubic(images: Tensor, coefficients: Tensor, warp: Warp) -> Tensor:
    down, right = (torch.from_numpy(_prefilter(n).copy()).to(images) for n in images.shape[-2:])
    planes = images.flatten(0, 1)
    every = (len(planes), -1, -1)
    knots = torch.bmm(torch.bmm(down.expand(every), planes), right.T.expand(every))
    return _read_taps(knots.view_as(images), coefficients, warp, _spline_taps)


def _read_gaussian(images: Tensor, coefficients: Tensor, warp: Warp) -> Tensor:
    return _read_taps(images, coefficients, warp, _gaussian_taps)


_READERS = {"bilinear": _read_bilinear, "cubic": _read_cubic, "gaussian": _read_gaussian}


def _affine_minus(
    coefficients: Tensor,
    size: tuple[int, int],
    ends: tuple[float, float],
    factors: tuple[float, float],
    start: float = 0.0,
) -> Tensor:
    """Return a ramp from start to ends along (x, y), minus the field times the factors: (row, H, W, (x, y)).

    One batched product writes both components side by side, the layout of grid_sample.
    """
    height, width = size
    rows, _, modes, _ = coefficients.shape
    x, y = (_waves(np.sin, modes, n).to(coefficients) for n in (width, height))
    scaled = coefficients * coefficients.new_tensor([-f for f in factors])[:, None, None]
    inner = torch.bmm(scaled.transpose(2, 3).flatten(0, 1), x.expand(2 * rows, -1, -1))
    right = inner.view(rows, 2, modes, width).permute(0, 2, 3, 1).reshape(rows, modes, 2 * width)
    ramp = coefficients.new_empty(height, width, 2)
    ramp[..., 0] = torch.linspace(start, ends[0], width, dtype=ramp.dtype, device=ramp.device)
    ramp[..., 1] = torch.linspace(start, ends[1], height, dtype=ramp.dtype, device=ramp.device)[:, None]
    found = torch.baddbmm(ramp.view(height, 2 * width), y.T.expand(rows, -1, -1), right)
    return found.view(rows, height, width, 2)


def _waves(function: Callable[[np.ndarray], np.ndarray], modes: int, n: int) -> Tensor:
    """Return sines or cosines of kπs, (mode, n), at n points s from 0 to 1; sines end at exactly 0."""
    angles = np.pi * np.outer(np.arange(1, modes + 1), np.linspace(0, 1, n))
    found = function(angles)
    if function is np.sin:
        found[:, [0, -1]] = 0.0
    return torch.from_numpy(found)


def _slopes(modes: int, n: int) -> Tensor:
    return _waves(np.cos, modes, n) * (np.pi * torch.arange(1, modes + 1))[:, None]


_Taps = tuple[list[Tensor], list[Tensor]]


def _read_taps(
    images: Tensor, coefficients: Tensor, warp: Warp, taps: Callable[[Tensor, int], _Taps]
) -> Tensor:
    """Return weighted sums over the pixels around each position; weights are products over both axes."""
    height, width = images.shape[-2:]
    size = (height, width)
    at = _affine_minus(coefficients, size, (width - 1.0, height - 1.0), warp.pixels(size))
    columns, across = taps(at[..., 0].clamp(0, width - 1), width)
    rows, down = taps(at[..., 1].clamp(0, height - 1), height)
    flat = images.flatten(2)
    out = torch.zeros_like(flat)
    for row, weight in zip(rows, down, strict=True):
        for column, other in zip(columns, across, strict=True):
            place = (row * width + column).flatten(1)[:, None].expand_as(flat)
            out = out + flat.gather(2, place) * (weight * other).flatten(1)[:, None]
    return out.view_as(images)


def _spline_taps(at: Tensor, n: int) -> _Taps:
    """Return four knots and their cubic B-spline weights, mirrored at the first and last pixel."""
    first = at.detach().floor()
    t = at - first
    u = 1 - t
    weights = [u**3 / 6, t**3 / 2 - t**2 + 2 / 3, u**3 / 2 - u**2 + 2 / 3, t**3 / 6]
    knots = [(first.long() + k).abs() for k in (-1, 0, 1, 2)]
    return [torch.where(knot < n, knot, 2 * (n - 1) - knot) for knot in knots], weights


def _gaussian_taps(at: Tensor, n: int) -> _Taps:
    """Return the surrounding pixels and their Gaussian weights, which sum to 1 within the image."""
    first, reach = at.detach().floor(), _REACH[at.dtype]
    pixels = [first + k for k in range(1 - reach, reach + 1)]
    inside = [(pixel >= 0) & (pixel < n) for pixel in pixels]
    weights = [
        torch.exp(-((at - pixel) ** 2) / (2 * SIGMA_PX**2)) * valid
        for pixel, valid in zip(pixels, inside, strict=True)
    ]
    total = torch.stack(weights).sum(dim=0)
    return [pixel.clamp(0, n - 1).long() for pixel in pixels], [weight / total for weight in weights]


@lru_cache(maxsize=16)
def _prefilter(n: int) -> np.ndarray:
    """Return the matrix (n, n) from pixels to the knots of the spline through them, mirrored at the edges."""
    values = (4 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)) / 6
    values[0, 1] *= 2
    values[-1, -2] *= 2
    return np.linalg.inv(values)
