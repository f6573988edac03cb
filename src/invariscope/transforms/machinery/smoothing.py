"""Convolutions of images that are mirrored at their border."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TRUNCATE = 4.0


def gaussian_weights(sigma: float, truncate: float = TRUNCATE) -> np.ndarray:
    """Return weights that sum to 1, at whole pixels up to `truncate` standard deviations."""
    reach = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2) if sigma > 0 else np.ones(1)
    return weights / weights.sum()


def smoothed(images: Tensor, sigma: float) -> Tensor:
    """Return images (..., H, W) after convolution with a Gaussian, mirrored at the border."""
    weights = gaussian_weights(sigma)
    return _along(_along(images, weights, -1), weights, -2)


def mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Return places on a line as places within 0 to size - 1: 0 0 1 2 … n n … 2 1 0 0 …"""
    period = places % (2 * size)
    return np.minimum(period, 2 * size - 1 - period)


def _along(images: Tensor, weights: np.ndarray, axis: int) -> Tensor:
    """Return the convolution along one axis; sums are in the same order for every batch."""
    size, reach = images.shape[axis], len(weights) // 2
    if reach == 0:
        return images
    places = mirrored(np.arange(-reach, size + reach), size)
    padded = images.index_select(axis, torch.from_numpy(places).to(images.device))
    out = padded.narrow(axis, 0, size) * float(weights[0])
    for k in range(1, len(weights)):
        out.add_(padded.narrow(axis, k, size), alpha=float(weights[k]))
    return out
