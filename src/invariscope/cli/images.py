"""Moved images as the models of other libraries take them."""

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
_PIXELS = 20  # which no noise on values from 0 to 1 reaches


@dataclass(frozen=True)
class ResizeCropNormalize(Preprocess):
    """Resize with antialiasing, crop the centre and normalize, in plain torch.

    Args:
        scale: (rows, columns) of the resized image: both, or those of its smallest rectangle around them.
        crop: (rows, columns) kept in the centre.
        mean, std: per channel.
        mode: "bilinear" or "bicubic".
        squash: whether to give up the ratio of the sides.
    """

    images: ClassVar[bool] = True

    scale: tuple[int, int]
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str = "bicubic"
    squash: bool = False

    def __call__(self, samples: Any) -> Tensor:
        """Return (sample, channel, row, column)."""
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
    """The transform that comes with published weights, which takes a batch, or images one by one."""

    images: ClassVar[bool] = True

    transform: Callable[[Any], Any]

    def __call__(self, samples: Any) -> Any:
        """Return a batch."""
        from invariscope.readers.feeding import stacked

        if isinstance(samples, Tensor):
            return self.transform(unit_images(self, samples))
        images = [image if is_image(image) else unit_images(self, image) for image in images_of(samples)]
        return stacked([self.transform(image) for image in images])


def images_of(samples: Any) -> list[Any]:
    """Return the images in samples that may be mappings with a field `image`."""
    return [field_of(sample, _FIELDS) for sample in samples]


def field_of(sample: Any, names: tuple[str, ...]) -> Any:
    """Return the part of a mapping under the first name that it has; anything else as it is.

    Raises:
        ValueError: the mapping has none of the names.
    """
    if not hasattr(sample, "keys"):
        return sample
    found = [name for name in names if name in sample]
    if not found:
        raise ValueError(
            f"samples are {kind_of(sample)}, none of which is called {' or '.join(map(repr, names))}. Use "
            "--preprocess none if these are the model's inputs, or file.py:function for one of yours"
        )
    return sample[found[0]]


def unit_images(preprocess: Preprocess, image: Any, channels: int | None = None) -> Tensor:
    """Return (..., channel, row, column) floating values from 0 to 1.

    Args:
        preprocess: keeps notes on what was changed.
        image: an image of PIL, or one or several images as a tensor or an array.
        channels: number of channels that the model takes, if known; grey images are repeated.
    Raises:
        ValueError: another range, or another number of channels.
        TypeError: no image.
    """
    if is_image(image):
        pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        image = torch.from_numpy(pixels[..., None] if channels == 1 else pixels).movedim(-1, 0)
    elif not isinstance(image, Tensor | np.ndarray):
        raise TypeError(f"the model takes images, but a sample is {kind_of(image)}")
    else:
        image = torch.as_tensor(image)
        if image.dtype == torch.uint8:
            preprocess.note("images of bytes were divided by 255")
    values = image / 255 if image.dtype == torch.uint8 else image
    _refuse_range(values, -_PIXELS, _PIXELS)
    return _with_channels(preprocess, values, channels)


def refuse_other_range(data: Any) -> None:
    """Raise ValueError if data in memory are arrays of images whose values do not lie between 0 and 1.

    Moved images are not judged by this: noise leaves the range.
    """
    images = getattr(data, "images", data[0] if isinstance(data, tuple) and data else data)
    if isinstance(images, Tensor | np.ndarray) and images.dtype not in (torch.uint8, np.uint8):
        _refuse_range(torch.as_tensor(images), _LEAST, _MOST)


def _refuse_range(values: Tensor, least: float, most: float) -> None:
    low, high, kind = float(values.amin()), float(values.amax()), str(values.dtype).removeprefix("torch.")
    if not values.is_floating_point() or low < least or high > most:
        raise ValueError(
            f"images must be floating values from 0 to 1, got {kind} from {low:g} to {high:g}. "
            "Divide by 255 if these are pixels; if they are normalized already, use --preprocess none"
        )


def _with_channels(preprocess: Preprocess, values: Tensor, channels: int | None) -> Tensor:
    shape = tuple(values.shape)
    if values.ndim < 3:
        raise ValueError(f"images must be (channel, row, column), got {shape}")
    if channels is None or shape[-3] == channels:
        return values
    if shape[-3] == 1:
        preprocess.note(f"grey images were repeated to {channels} channels")
        return values.expand(*shape[:-3], channels, *shape[-2:])
    last = shape[-1] in (1, channels)
    hint = "; move them to the front: x.transpose(0, 3, 1, 2)" if last and shape[-3] > 4 else ""
    raise ValueError(f"the model takes images with {channels} channels first, got {shape[-3:]}{hint}")


def note_size(preprocess: Preprocess, images: Tensor, size: tuple[int, int]) -> None:
    """Note that arrays have another size than the model takes; photographs are expected to."""
    given = tuple(images.shape[-2:])
    if given != size:
        preprocess.note(
            f"images of {given[0]} × {given[1]} pixels were resized or cropped to {size[0]} × {size[1]}"
        )
