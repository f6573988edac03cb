"""Digital corruptions: contrast, elastic deformation, pixelation, JPEG compression and saturation."""

from __future__ import annotations

import numpy as np

from invariscope.transforms.machinery.compression import compressed
from invariscope.transforms.machinery.corruptions.kinds import Chance, kind
from invariscope.transforms.machinery.corruptions.weather import in_hsv

# Amplitude, smoothness and affine part in pixels; 244 is a misprint of 224 in the published code.
_ELASTIC = tuple(
    tuple(244 * share for share in shares)
    for shares in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
)
_SMALL_ELASTIC = tuple(
    tuple(32 * share for share in shares)
    for shares in ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
)


@kind("digital", imagenet=(0.4, 0.3, 0.2, 0.1, 0.05), cifar10=(0.75, 0.5, 0.4, 0.3, 0.15))
def contrast(image: np.ndarray, factor: float, chance: Chance) -> np.ndarray:
    """Scale values about the mean of each channel."""
    mean = image.mean((0, 1))
    return mean + factor * (image - mean)


@kind("digital", imagenet=_ELASTIC, cifar10=_SMALL_ELASTIC, random=True)
def elastic_transform(image: np.ndarray, strength: tuple[float, float, float], chance: Chance) -> np.ndarray:
    """Move three points at random, and the plane with them; then apply a smooth random displacement."""
    from scipy.ndimage import gaussian_filter

    amplitude, sigma, reach = strength
    height, width = image.shape[:2]
    centre, side = np.array([width // 2, height // 2]), min(height, width) // 3  # x before y
    points = centre + side * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + reach * (2 * chance.uniform(0, 3, 2) - 1)
    rows, columns = np.mgrid[:height, :width]
    places = _affine(moved, points) @ np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    image = _read(image, places[::-1].reshape(2, height, width), "mirror")
    drawn = 2 * chance.uniform(1, 2, height, width) - 1
    smooth = [amplitude * gaussian_filter(field, sigma, mode="reflect", truncate=3) for field in drawn]
    return _read(image, np.stack([rows, columns]) + smooth[::-1], "reflect")


def _affine(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the matrix (2, 3) that takes three points to three others."""
    return np.linalg.solve(np.column_stack([start, np.ones(3)]), end).T


def _read(image: np.ndarray, places: np.ndarray, mode: str) -> np.ndarray:
    """Return the values at places (2, H, W), rows and columns, by linear interpolation."""
    from scipy.ndimage import map_coordinates

    planes = [map_coordinates(plane, places, order=1, mode=mode) for plane in image.transpose(2, 0, 1)]
    return np.stack(planes, axis=-1)


@kind("digital", imagenet=(0.6, 0.5, 0.4, 0.3, 0.25), cifar10=(0.95, 0.9, 0.85, 0.75, 0.65))
def pixelate(image: np.ndarray, share: float, chance: Chance) -> np.ndarray:
    """Resize to a share of the size by averaging, and back."""
    from PIL import Image

    height, width = image.shape[:2]
    fewer = max(1, int(width * share)), max(1, int(height * share))
    planes = []
    for plane in image.astype(np.float32).transpose(2, 0, 1):
        small = Image.fromarray(np.ascontiguousarray(plane)).resize(fewer, Image.Resampling.BOX)
        planes.append(np.asarray(small.resize((width, height), Image.Resampling.BOX), dtype=float))
    return np.stack(planes, axis=-1)


@kind("digital", imagenet=(25, 18, 15, 10, 7), cifar10=(80, 65, 58, 50, 40))
def jpeg_compression(image: np.ndarray, quality: int, chance: Chance) -> np.ndarray:
    """Compress to JPEG."""
    return compressed((image * 255).round().astype(np.uint8), quality) / 255


@kind(
    "digital",
    imagenet=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    cifar10=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
)
def saturate(image: np.ndarray, strength: tuple[float, float], chance: Chance) -> np.ndarray:
    """Scale the saturation of HSV."""
    return in_hsv(image, *strength, 0)
