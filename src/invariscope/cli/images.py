"""Preprocessing of transformed images for models of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from invariscope.cli.named import Preprocess
from invariscope.common.samples import is_image, kind_of

_FIELDS = ("image", "img", "pixel_values")
_LEAST, _MOST = -0.5, 1.5  # resampling overshoots 0 and 1 a little
_PIXELS = 20  # beyond any noise added to values from 0 to 1


@dataclass(frozen=True)
class ResizeCropNormalize(Preprocess):
    """Antialiased resizing, centre cropping and normalization, in plain torch.

    Args:
        scale: (rows, columns) of the resized image. Unless `squash` is set, the image keeps its aspect ratio
            and gets the smallest size with at least this many rows and columns.
        crop: (rows, columns) kept in the centre.
        mean, std: one value per channel.
        mode: "bilinear" or "bicubic".
        squash: whether to resize to exactly `scale`, whatever the aspect ratio.
    """

    images: ClassVar[bool] = True

    scale: tuple[int, int]
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "bicubic"
    squash: bool = False

    def __call__(self, samples: Any) -> Tensor:
        """Return normalized images (sample, channel, row, column)."""
        if isinstance(samples, Tensor):
            note_size(self, samples, self.crop)
            return self._fitted(unit_images(self, samples, len(self.mean)))
        images = [unit_images(self, image, len(self.mean)) for image in images_of(samples)]
        return torch.stack([self._fitted(image[None])[0] for image in images])

    def _fitted(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if (size := self._resized(height, width)) != (height, width):
            options = {"mode": self.mode, "antialias": True, "align_corners": False}
            images = functional.interpolate(images, size, **options)
        top, left = (round((whole - kept) / 2) for whole, kept in zip(size, self.crop, strict=True))
        images = images[..., top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.scale
        if self.squash:
            return rows, columns
        if height * columns <= width * rows:
            return rows, width * rows // height
        return height * columns // width, columns


@dataclass(frozen=True)
class BroughtTransform(Preprocess):
    """The transform published with a model's weights, applied to a tensor batch or to single images."""

    images: ClassVar[bool] = True

    transform: Callable[[Any], Any]

    def __call__(self, samples: Any) -> Any:
        """Return a batch of model inputs."""
        from invariscope.readers.feeding import stacked

        if isinstance(samples, Tensor):
            return self.transform(unit_images(self, samples))
        images = [image if is_image(image) else unit_images(self, image) for image in images_of(samples)]
        return stacked([self.transform(image) for image in images])


def images_of(samples: Any) -> list[Any]:
    """Return the image of each sample; samples may be mappings with an image field."""
    return [field_of(sample, _FIELDS) for sample in samples]


def field_of(sample: Any, names: tuple[str, ...]) -> Any:
    """Return the first of the named fields that a mapping has; return other samples unchanged.

    Raises:
        ValueError: the mapping has none of the names.
    """
    if not hasattr(sample, "keys"):
        return sample
    found = [name for name in names if name in sample]
    if not found:
        raise ValueError(
            f"each sample is a {kind_of(sample)}, none of which is called {' or '.join(map(repr, names))}. "
            "Use --preprocess none if these are the model's inputs, or --preprocess file.py:function to "
            "convert them"
        )
    return sample[found[0]]


def unit_images(preprocess: Preprocess, image: Any, channels: int | None = None) -> Tensor:
    """Convert images to floating-point values from 0 to 1, of shape (..., channel, row, column).

    Args:
        preprocess: records notes on changes.
        image: a PIL image, or one or several images as a tensor or an array.
        channels: number of channels that the model takes, if known; grey images are repeated.
    Raises:
        ValueError: values far outside 0 to 1, or the wrong number of channels.
        TypeError: not an image.
    """
    if is_image(image):
        pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        image = torch.from_numpy(pixels[..., None] if channels == 1 else pixels).movedim(-1, 0)
    elif not isinstance(image, Tensor | np.ndarray):
        raise TypeError(f"the model takes images, but a sample is {kind_of(image)}")
    else:
        image = torch.as_tensor(image)
        if image.dtype == torch.uint8:
            preprocess.note("uint8 images were divided by 255")
    values = image / 255 if image.dtype == torch.uint8 else image
    _refuse_range(values, -_PIXELS, _PIXELS)
    return _with_channels(preprocess, values, channels)


def refuse_other_range(data: Any) -> None:
    """Raise ValueError if images given as arrays have values well outside 0 to 1; accept uint8.

    This check is for the original images. Transformed images may leave the range, for example because of
    noise.
    """
    images = getattr(data, "images", data[0] if isinstance(data, tuple) and data else data)
    if isinstance(images, Tensor | np.ndarray) and images.dtype not in (torch.uint8, np.uint8):
        _refuse_range(torch.as_tensor(images), _LEAST, _MOST)


def _refuse_range(values: Tensor, least: float, most: float) -> None:
    low, high, kind = float(values.amin()), float(values.amax()), str(values.dtype).removeprefix("torch.")
    if not values.is_floating_point() or low < least or high > most:
        raise ValueError(
            f"images must be floating-point values from 0 to 1, got {kind} from {low:g} to {high:g}. Divide "
            "them by 255 if they range from 0 to 255; if they are already normalized, use --preprocess none"
        )


def _with_channels(preprocess: Preprocess, values: Tensor, channels: int | None) -> Tensor:
    shape = tuple(values.shape)
    if values.ndim < 3:
        raise ValueError(f"images must be (channel, row, column), got {shape}")
    if channels is None or shape[-3] == channels:
        return values
    if shape[-3] == 1:
        preprocess.note(f"grey images were repeated across {channels} channels")
        return values.expand(*shape[:-3], channels, *shape[-2:])
    last = shape[-1] in (1, channels)
    hint = "; move them to the front: x.transpose(0, 3, 1, 2)" if last and shape[-3] > 4 else ""
    raise ValueError(f"the model takes images ({channels}, row, column), got {shape[-3:]}{hint}")


def note_size(preprocess: Preprocess, images: Tensor, size: tuple[int, int]) -> None:
    """Record a note if arrays of images are resized; for photographs, this is expected."""
    given = tuple(images.shape[-2:])
    if given != size:
        preprocess.note(
            f"images of {given[0]} × {given[1]} pixels were resized or cropped to {size[0]} × {size[1]}"
        )
