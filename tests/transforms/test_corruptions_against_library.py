"""Corruptions against imagecorruptions, a port of the published code, given the same random numbers.

The package has not been released since 2020 and does not run as it is with NumPy 2, so it is no dependency:
`pip install --no-deps imagecorruptions opencv-python-headless scikit-image`.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from unittest import mock

import numpy as np
import pytest

from invariscope.transforms.machinery.corruptions import blur, digital, noise, weather  # noqa: F401
from invariscope.transforms.machinery.corruptions.kinds import KINDS


@pytest.fixture(scope="module")
def published():
    pytest.importorskip("cv2")
    if importlib.util.find_spec("imagecorruptions") is None:
        pytest.skip("needs imagecorruptions")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("pkg_resources") is None:  # gone from later versions of setuptools
            stub = types.ModuleType("pkg_resources")
            stub.resource_filename = lambda *_: ""  # pyright: ignore[reportAttributeAccessIssue]
            sys.modules["pkg_resources"] = stub
        module = importlib.import_module("imagecorruptions.corruptions")
    from skimage.filters import gaussian

    module.gaussian = lambda x, multichannel=False, **options: gaussian(
        x, channel_axis=-1 if multichannel else None, **options
    )
    with mock.patch.object(np, "float_", np.float64, create=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield module


class _Given:
    """The numbers that the published code draws in the same order."""

    def __init__(self, seed: int = 3) -> None:
        self.drawn = np.random.default_rng(seed)

    def uniform(self, name: int, *shape: int) -> np.ndarray:
        return self.drawn.random(shape)

    def normal(self, name: int, *shape: int) -> np.ndarray:
        return self.drawn.standard_normal(shape)


def patched(seed: int = 3):
    drawn = np.random.default_rng(seed)

    def uniform(low=0.0, high=1.0, size=None):
        return low + (high - low) * drawn.random(() if size is None else size)

    def normal(loc=0.0, scale=1.0, size=None):
        return loc + scale * drawn.standard_normal(size)

    return mock.patch.multiple(np.random, uniform=uniform, normal=normal)


def photograph(size: int = 224) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    planes = [np.sin(9 * x + 4 * y), np.cos(13 * y * x), np.sin(23 * x) * y]
    found = (
        0.5 + 0.45 * np.stack(planes, -1) + 0.04 * np.random.default_rng(0).standard_normal((size, size, 3))
    )
    return (255 * found.clip(0, 1)).astype(np.uint8)


# Largest and mean difference, in units of 1/255.
EXACT, ROUNDED, ROUNDED_TWICE = (1e-6, 1e-9), (1.01, 0.6), (2.01, 0.6)
CASES = {
    "gaussian_noise": EXACT,
    "speckle_noise": EXACT,
    "gaussian_blur": EXACT,
    "defocus_blur": (1e-3, 1e-3),
    "motion_blur": (1e-3, 1e-3),
    "zoom_blur": (1e-2, 1e-2),
    "fog": EXACT,
    "snow": ROUNDED_TWICE,
    "brightness": (1e-3, 1e-3),
    "contrast": EXACT,
    "pixelate": ROUNDED,
    "jpeg_compression": EXACT,
    "saturate": (1e-3, 1e-3),
}


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_corruption_is_the_published_one_given_the_same_random_numbers(name, severity, published):
    from PIL import Image

    image = photograph()
    with patched():
        given = Image.fromarray(image)
        expected = np.asarray(getattr(published, name)(given, severity), dtype=float)
    kind = KINDS[name]
    found = kind.apply(image / 255, kind.strengths["imagenet"][severity - 1], _Given())  # pyright: ignore
    off = np.abs(255 * found.clip(0, 1) - expected)
    largest, mean = CASES[name]
    assert off.max() <= largest
    assert off.mean() <= mean
    assert np.abs(found - image / 255).mean() > 1e-3


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glass_blur_moves_pixels_like_the_published_loop(severity, published):
    from PIL import Image

    image, kind = photograph(48), KINDS["glass_blur"]
    strength = kind.strengths["imagenet"][severity - 1]
    steps = iter(np.random.default_rng(5).random((10**5, 2)))
    reach = strength[1]
    integers = lambda low, high, size: np.floor(next(steps) * (high - low)).astype(int) + low  # noqa: E731
    with mock.patch.object(np.random, "randint", integers):
        expected = published.glass_blur(Image.fromarray(image), severity)
    given = _Given(5)
    found = kind.apply(image / 255, strength, given)  # pyright: ignore
    assert reach == strength[1]
    assert np.abs(255 * found - expected).max() < 1e-6


@pytest.mark.parametrize("severity", [1, 2, 3, 5])
def test_elastic_deformation_moves_pixels_as_opencv_does_in_the_published_code(severity, published):
    import cv2
    from scipy.ndimage import gaussian_filter, map_coordinates

    image, kind = photograph(), KINDS["elastic_transform"]
    amplitude, sigma, reach = kind.strengths["imagenet"][severity - 1]
    given = _Given(7)
    points = np.array([[112 + 74, 112 + 74], [112 + 74, 112 - 74], [112 - 74, 112 - 74]], np.float32)
    moved = points + reach * (2 * given.uniform(0, 3, 2) - 1)
    matrix = cv2.getAffineTransform(points, moved.astype(np.float32))
    size, border = (224, 224), cv2.BORDER_REFLECT_101
    expected = cv2.warpAffine(image.astype(np.float32) / 255, matrix, size, borderMode=border)
    fields = 2 * given.uniform(1, 2, 224, 224) - 1
    dx, dy = (amplitude * gaussian_filter(field, sigma, mode="reflect", truncate=3) for field in fields)
    y, x = np.mgrid[:224, :224]
    read = lambda plane: map_coordinates(plane, (y + dy, x + dx), order=1, mode="reflect")  # noqa: E731
    expected = np.stack([read(plane) for plane in expected.transpose(2, 0, 1)], -1)
    found = kind.apply(image / 255, (amplitude, sigma, reach), _Given(7))  # pyright: ignore
    off = 255 * np.abs(found - expected)
    assert off.mean() < 0.5  # OpenCV rounds places to 1/32 of a pixel
    assert 255 * np.abs(found - image / 255).mean() > 5 * off.mean()
