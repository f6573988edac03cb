"""Check whether the zeros with which a transform pads images fit their background."""

from __future__ import annotations

import torch
from torch import Tensor

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.filling import fills_with_zeros

SAMPLES = 64
"""Number of images that are checked."""

_RARE = 0.1  # zero fits if at least this share of border pixels is <= 0, and at least this share >= 0
_SEEN = 0.1  # smallest relevant distance from the median, in standard deviations of the images


def padding_notes(transform: Transform, x: Tensor, *, seed: int = 0) -> list[str]:
    """Return a note if the transform fills with zeros, and zero is unlike the border of the images.

    Zero is unlike the border if, in any channel, it lies outside the middle 80 % of the border pixels, and
    more than a tenth of the images' standard deviation from their median.

    Args:
        transform: the transform of the images.
        x: (sample, C, H, W) images, of which up to 64 are checked; other inputs are not checked.
        seed: seed of the transform's draws.
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        return []
    names = fills_with_zeros(transform, (x.shape[2], x.shape[3]), seed=seed)
    border = _unlike_zero(x[:SAMPLES].detach().double()) if names else None
    if border is None:
        return []
    return [
        f"padding with zeros ({', '.join(names)}) does not fit the images' border, which is about "
        f"{border:.2g} (median), so values partly measure a frame of zeros. Use padding='border' or "
        "padding='reflection', or standardise after the transform."
    ]


def _unlike_zero(x: Tensor) -> float | None:
    """Return the border's median in the channel whose border is least like zero; None if zero fits."""
    edges = [x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1]]
    border = torch.cat(edges, dim=2).transpose(0, 1).flatten(1)
    if not border.isfinite().all():
        return None
    least = _RARE * border.shape[1]
    strange = ((border <= 0).sum(1) < least) | ((border >= 0).sum(1) < least)
    if not strange.any():
        return None
    middle, spread = border.median(dim=1).values, x.transpose(0, 1).flatten(1).std(dim=1)
    strange &= middle.abs() > _SEEN * spread
    if not strange.any():
        return None
    return float(middle[(middle.abs() * strange).argmax()])
