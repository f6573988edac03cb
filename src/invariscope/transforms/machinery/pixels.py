"""Conversion of single samples (arrays or images) to tensors and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import is_image, kind_of, leaves
from invariscope.common.wording import listed

Restore: TypeAlias = Callable[[Tensor], Any]

_MODES = ("L", "RGB", "RGBA")
_CHANNELS = (1, 3, 4)


def as_values(sample: Any, family: str) -> tuple[Tensor, Restore]:
    """Return a sample's values as a tensor, and a function that converts a tensor back to the sample's type.

    PIL images and tensors or arrays of bytes become floating-point values from 0 to 1. The function rounds
    them back to bytes, so exact elements do not change pixel values. Images become (channel, row, column).

    Args:
        sample: a tensor, an array or an image.
        family: name of the transform, for the error.
    Raises:
        TypeError: anything else.
    """
    if is_image(sample):
        return _of_image(sample, family)
    _refuse_channels_last(sample, family)
    if isinstance(sample, np.ndarray) and sample.dtype.kind in "biufc":
        values, restore = _of_tensor(torch.from_numpy(np.ascontiguousarray(sample)))
        return values, lambda moved: restore(moved).numpy()
    if isinstance(sample, Tensor):
        return _of_tensor(sample)
    fields = [repr(path[0]) for path, leaf in leaves(sample) if path and _is_numeric(leaf)]
    if fields:
        example = f"iv.On({family}(...), {fields[0]})"
        advice = (
            f"Name the fields to transform: {example}; fields with arrays: {listed(dict.fromkeys(fields))}"
        )
    else:
        advice = "Give callables on single samples: iv.Elements([...])"
    raise TypeError(
        f"{family} acts on tensors, arrays and images, but a sample is {kind_of(sample)}. {advice}"
    )


def _refuse_channels_last(sample: Any, family: str) -> None:
    """Raise TypeError for bytes (row, column, channel), the layout of decoded images."""
    if not isinstance(sample, Tensor | np.ndarray) or sample.ndim != 3:
        return
    shape = tuple(sample.shape)
    if sample.dtype in (torch.uint8, np.uint8) and shape[0] not in _CHANNELS and shape[2] in _CHANNELS:
        raise TypeError(
            f"{family} acts on images (channel, row, column); got bytes of shape {shape}, which look like "
            "(row, column, channel): move the channels to the front, or give PIL images"
        )


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, Tensor | np.ndarray) or is_image(leaf)


def _of_tensor(values: Tensor) -> tuple[Tensor, Restore]:
    if values.dtype != torch.uint8:
        return values, lambda moved: moved
    return values.float() / 255, lambda moved: (moved * 255).round().clamp(0, 255).to(torch.uint8)


def _of_image(image: Any, family: str) -> tuple[Tensor, Restore]:
    if image.mode not in _MODES:
        raise TypeError(
            f"{family} supports PIL images of mode {', '.join(_MODES)}; got mode {image.mode!r}: "
            "convert them first, image.convert('RGB')"
        )
    pixels = torch.from_numpy(np.array(image))
    grey = pixels.ndim == 2
    values, restore = _of_tensor(pixels[None] if grey else pixels.movedim(-1, 0))

    def image_of(moved: Tensor) -> Any:
        from PIL import Image

        found = restore(moved)
        array = (found[0] if grey else found.movedim(0, -1)).contiguous().numpy()
        return Image.fromarray(array, image.mode) if not grey else Image.fromarray(array)

    return values, image_of
