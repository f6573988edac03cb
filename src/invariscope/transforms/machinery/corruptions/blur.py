"""Blur: Gaussian, defocus, glass, motion and zoom blur."""

from __future__ import annotations

import numpy as np

from invariscope.transforms.machinery.corruptions.kinds import Chance, kind

_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
_SMALL_GLASS = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
_ZOOMS = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
_SMALL_ZOOMS = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))


@kind("blur", imagenet=(1, 2, 3, 4, 6), cifar10=(0.4, 0.6, 0.7, 0.8, 1))
def gaussian_blur(image: np.ndarray, sigma: float, chance: Chance) -> np.ndarray:
    """Convolve with a Gaussian; border pixels are repeated."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)


@kind(
    "blur",
    imagenet=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    cifar10=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
def defocus_blur(image: np.ndarray, strength: tuple[float, float], chance: Chance) -> np.ndarray:
    """Convolve with a disc of a radius, whose edge is smoothed by a Gaussian of another one."""
    from scipy.ndimage import correlate

    return correlate(image, disc(*strength)[:, :, None], mode="mirror")


def disc(radius: float, edge: float) -> np.ndarray:
    """Return the weights of a disc; they sum to 1, except that smoothing adds a little at a radius of 10."""
    from scipy.ndimage import correlate1d

    reach, near = (8, 1) if radius <= 8 else (int(radius), 2)
    places = np.arange(-reach, reach + 1)
    inside = (places**2 + places[:, None] ** 2 <= radius**2).astype(float)
    inside /= inside.sum()
    weights = np.exp(-0.5 * (np.arange(-near, near + 1) / edge) ** 2)
    for axis in (0, 1):
        inside = correlate1d(inside, weights / weights.sum(), axis=axis, mode="mirror")
    return inside


@kind("blur", imagenet=_GLASS, cifar10=_SMALL_GLASS, random=True)
def glass_blur(image: np.ndarray, strength: tuple[float, int, int], chance: Chance) -> np.ndarray:
    """Replace each pixel by one at a small random distance, between two Gaussian blurs.

    Pixels are replaced one after the other, from the last to the first, in several rounds. The published code
    means to swap two pixels, but overwrites one, as is done here.
    """
    sigma, reach, rounds = strength
    bytes_ = np.floor(gaussian_blur(image, sigma, chance) * 255) / 255
    height, width, _ = image.shape
    rows, columns = (np.arange(size - reach, reach, -1) for size in (height, width))
    places = (rows[:, None] * width + columns).ravel().tolist()
    moves = np.floor(chance.uniform(0, rounds, len(places), 2) * 2 * reach).astype(int) - reach
    source = list(range(height * width))
    for steps in (moves[..., 1] * width + moves[..., 0]).tolist():
        for place, step in zip(places, steps, strict=True):
            source[place] = source[place + step]
    return gaussian_blur(bytes_.reshape(height * width, -1)[source].reshape(image.shape), sigma, chance)


@kind(
    "blur",
    imagenet=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    cifar10=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    random=True,
)
def motion_blur(image: np.ndarray, strength: tuple[int, float], chance: Chance) -> np.ndarray:
    """Average along a line at a random angle from -45° to 45°."""
    return moved_along(image, *strength, 90 * float(chance.uniform(0, 1)[0]) - 45)


def moved_along(image: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Return the mean over 2 · radius + 1 steps of a pixel along a line, with half a Gaussian as weights."""
    height, width = image.shape[:2]
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    across, down = (
        np.ceil(steps * direction(np.deg2rad(degrees)) - 0.5).astype(int) for direction in (np.cos, np.sin)
    )
    found = np.zeros_like(image)
    for weight, dx, dy in zip(weights / weights.sum(), across, down, strict=True):
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        found += weight * image[rows[:, None], columns]
    return found


@kind("blur", imagenet=_ZOOMS, cifar10=_SMALL_ZOOMS)
def zoom_blur(image: np.ndarray, strength: tuple[float, float], chance: Chance) -> np.ndarray:
    """Average the image and enlarged copies of it."""
    end, step = strength
    factors = np.arange(1, end, step)
    return (image + sum(enlarged(image, factor) for factor in factors)) / (len(factors) + 1)


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """Return the centre of an image (H, W, C), enlarged to its size by linear interpolation."""
    for axis in (0, 1):
        size = image.shape[axis]
        part = int(np.ceil(size / factor))
        whole = int(np.round(part * factor))
        start = (size - part) // 2
        # The first and last pixels of the enlarged part are those of the part, as in scipy.ndimage.zoom.
        places = (np.arange(size) + (whole - size) // 2) * (part - 1) / max(whole - 1, 1)
        lower = np.clip(np.floor(places).astype(int), 0, max(part - 2, 0))
        share = np.expand_dims(places - lower, tuple(k for k in range(3) if k != axis))
        first, second = (start + np.minimum(lower + k, part - 1) for k in (0, 1))
        image = np.take(image, first, axis) * (1 - share) + np.take(image, second, axis) * share
    return image
