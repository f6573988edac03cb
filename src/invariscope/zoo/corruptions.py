"""Common corruptions of images, which produce data that differ moderately from the training data.

To add one, decorate a function with `@corruption`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invariscope.common.draws import Draws, Stream
from invariscope.common.registry import unknown
from invariscope.zoo.image_data import ImageData

SEVERITIES = (1, 2, 3, 4, 5)
CORRUPTIONS: dict[str, Callable[[Tensor, int, Draws], Tensor]] = {}

_BLOCK = 1024  # Images per block; blocks limit memory, because draws are float64.


def corruption(function: Callable[[Tensor, int, Draws], Tensor]) -> Callable[[Tensor, int, Draws], Tensor]:
    """Register a function of (images, severity, draws) under its name."""
    CORRUPTIONS[function.__name__] = function
    return function


def corrupted(data: ImageData, name: str, *, seed: int = 0) -> ImageData:
    """Apply one corruption to all images, and clip them to [0, 1].

    Draws are keyed by (seed, position in the data).

    Args:
        data: images in [0, 1]; standardise afterwards, with the mean and standard deviation of the training
            images.
        name: a corruption and its severity from 1 to 5, such as "gaussian_noise:3".
            gaussian_noise: standard deviation 0.08 · severity. blur: a Gaussian of 0.4 px · severity, with
            the border repeated. contrast: reduced by 17 % of the original · severity, about each channel's
            mean. brightness: 0.1 · severity is added. pixelate: averaged to fewer pixels, by a factor of
            1 / (1 + severity / 2) per side, and enlarged without interpolation. jpeg: compressed by Pillow at
            quality 75 for severity 1, and 15 less for each further level: "jpeg:5" has quality 15.
        seed: seed of the noise.
    Raises:
        ValueError: unknown corruption or severity, images that are not in [0, 1], or, for jpeg, images
            without 1 or 3 channels.

    Source:
        Hendrycks and Dietterich 2019, arXiv:1903.12261, for the idea and the kinds; strengths are chosen
        for images of about 30 x 30 pixels.

    >>> from invariscope.zoo import load
    >>> worse = corrupted(load("mnist_subset", samples=4), "brightness:2")
    >>> worse.name, round(float(worse.images.min()), 6)
    ('mnist_subset, brightness:2', 0.2)
    """
    kind, severity = read_corruption(name)
    if data.mean or not 0 <= float(data.images.min()) <= float(data.images.max()) <= 1:
        raise ValueError(
            f"{data.name} is not in [0, 1], as corruptions require: standardise after the corruption"
        )
    parts = []
    for start in range(0, len(data), _BLOCK):
        images = data.images[start : start + _BLOCK]
        draws = Draws(seed=seed, keys=np.arange(start, start + len(images)), stream=Stream.CORRUPTION)
        parts.append(CORRUPTIONS[kind](images, severity, draws).clamp(0, 1))
    return replace(data, name=f"{data.name}, {kind}:{severity}", images=torch.cat(parts))


def read_corruption(text: str) -> tuple[str, int]:
    """Return the kind and severity of a text such as "blur:2".

    Raises:
        ValueError: unknown kind or severity.

    >>> read_corruption("blur:2")
    ('blur', 2)
    """
    kind, _, severity = text.partition(":")
    if kind not in CORRUPTIONS:
        raise unknown("corruption", kind, CORRUPTIONS)
    if severity not in map(str, SEVERITIES):
        raise ValueError(f"a corruption needs a severity from 1 to 5, such as '{kind}:3'; got {text!r}")
    return kind, int(severity)


@corruption
def gaussian_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add independent noise to each value."""
    noise = torch.from_numpy(draws.normal(images[0].numel())).view(images.shape)
    return images + 0.08 * severity * noise.to(images)


@corruption
def blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Convolve with a Gaussian, truncated at four standard deviations, along both axes."""
    sigma = 0.4 * severity
    reach = max(1, round(4 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    row = (weights / weights.sum()).to(images).expand(images.shape[1], 1, 1, -1)
    for kernel, sides in ((row, (reach, reach, 0, 0)), (row.mT, (0, 0, reach, reach))):
        images = F.conv2d(F.pad(images, sides, mode="replicate"), kernel, groups=len(row))
    return images


@corruption
def contrast(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Scale values toward the mean of each channel of each image."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + (1 - 0.17 * severity) * (images - mean)


@corruption
def brightness(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add a constant."""
    return images + 0.1 * severity


@corruption
def pixelate(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Reduce the resolution."""
    size = images.shape[2:]
    fewer = [max(1, round(side / (1 + severity / 2))) for side in size]
    return F.interpolate(F.interpolate(images, fewer, mode="area"), size, mode="nearest-exact")


@corruption
def jpeg(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Compress to JPEG in memory, with Pillow's default chroma subsampling."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"jpeg needs images with 1 or 3 channels; got {images.shape[1]}")
    bytes_ = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).squeeze(3)
    found = [torch.from_numpy(_compressed(image.numpy(), 90 - 15 * severity)) for image in bytes_]
    return torch.stack(found).view(len(images), *images.shape[2:], -1).permute(0, 3, 1, 2).to(images) / 255


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image of bytes, (H, W) or (H, W, 3), after JPEG compression."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))
