"""PIL images as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def pixels_of(image: Any, channels: int | None = None) -> Tensor:
    """Return a PIL image as (channel, row, column) values from 0 to 1.

    Args:
        image: an image with 8 bits per channel, or of mode "F" with values from 0 to 255.
        channels: 1 or 3; None keeps grey images grey, and converts all others to RGB.
    """
    if image.mode not in ("L", "RGB", "F"):
        image = image.convert("L" if image.mode in GREY else "RGB")
    values = torch.from_numpy(np.array(image, np.float32)) / 255
    values = values[None] if values.ndim == 2 else values.movedim(-1, 0).contiguous()
    return values.expand(channels, -1, -1) if channels and len(values) == 1 else values


def same_channels(images: list[Any]) -> list[Tensor]:
    """Return the pixels of PIL images, all with one channel or all with three.

    >>> from PIL import Image
    >>> [tuple(x.shape) for x in same_channels([Image.new("L", (4, 2)), Image.new("RGB", (4, 2))])]
    [(3, 2, 4), (3, 2, 4)]
    """
    grey = all(image.mode in GREY for image in images)
    return [pixels_of(image, 1 if grey else 3) for image in images]
