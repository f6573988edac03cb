"""Weather: snow, fog and brightness."""

from __future__ import annotations

import numpy as np
import torch

from invariscope.transforms.machinery.colours import with_saturation_and_value
from invariscope.transforms.machinery.corruptions.blur import enlarged, moved_along
from invariscope.transforms.machinery.corruptions.kinds import Chance, kind
from invariscope.transforms.machinery.photometric import LUMA

_SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
_SMALL_SNOW = (
    (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
    (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
)


@kind("weather", imagenet=_SNOW, cifar10=_SMALL_SNOW, random=True)
def snow(image: np.ndarray, strength: tuple[float, ...], chance: Chance) -> np.ndarray:
    """Whiten the image, and add flakes that fall at a random angle."""
    mean, deviation, size, threshold, radius, sigma, kept = strength
    flakes = enlarged(mean + deviation * chance.normal(0, *image.shape[:2], 1), size)
    flakes = np.floor(np.where(flakes < threshold, 0, flakes).clip(0, 1) * 255) / 255
    degrees = 90 * float(chance.uniform(1, 1)[0]) - 135
    flakes = np.round(moved_along(flakes, int(radius), sigma, degrees) * 255) / 255
    whiter = np.maximum(image, 1.5 * grey(image) + 0.5)
    return kept * image + (1 - kept) * whiter + flakes + flakes[::-1, ::-1]


def grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness (H, W, 1) of an image (H, W, C)."""
    return image if image.shape[2] == 1 else (image @ np.array(LUMA))[..., None]


@kind(
    "weather",
    imagenet=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    cifar10=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    random=True,
)
def fog(image: np.ndarray, strength: tuple[float, float], chance: Chance) -> np.ndarray:
    """Add a fractal cloud, and darken the sum to the largest value of the image."""
    amount, decay = strength
    height, width = image.shape[:2]
    cloud = fractal(2 ** int(np.ceil(np.log2(max(height, width)))), decay, chance)[:height, :width, None]
    most = image.max()
    return (image + amount * cloud) * most / (most + amount)


def fractal(size: int, decay: float, chance: Chance) -> np.ndarray:
    """Return a periodic height map (size, size) from 0 to 1, by the diamond-square algorithm.

    Args:
        size: a power of two.
        decay: factor by which random displacements shrink when the grid is halved.
    """
    heights = np.zeros((size, size))
    step, spread, name = size, 100.0, 0

    def displaced(sums: np.ndarray) -> np.ndarray:
        nonlocal name
        name += 1
        return sums / 4 + spread**2 * (2 * chance.uniform(name, *sums.shape) - 1)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        heights[half::step, half::step] = displaced(pairs + np.roll(pairs, -1, 1))
        centres = heights[half::step, half::step]
        beside = corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 0)
        below = corners + np.roll(corners, -1, 0) + centres + np.roll(centres, 1, 1)
        heights[::step, half::step], heights[half::step, ::step] = displaced(beside), displaced(below)
        step, spread = half, spread / decay
    heights -= heights.min()
    most = heights.max()
    return heights / most if most > 0 else heights


@kind("weather", imagenet=(0.1, 0.2, 0.3, 0.4, 0.5), cifar10=(0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(image: np.ndarray, added: float, chance: Chance) -> np.ndarray:
    """Add to the value of HSV."""
    return in_hsv(image, 1, 0, added)


def in_hsv(image: np.ndarray, factor: float, offset: float, brighter: float) -> np.ndarray:
    """Return the image with s to clip(factor · s + offset) and v to clip(v + brighter) in HSV."""
    if image.shape[2] == 1:  # grey: no saturation, and hue 0, as of an RGB image with equal channels
        image = image.repeat(3, axis=2)
        return in_hsv(image, factor, offset, brighter) @ np.array(LUMA)[:, None]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)[None]
    return with_saturation_and_value(pixels, factor, offset, brighter)[0].movedim(0, -1).numpy()
