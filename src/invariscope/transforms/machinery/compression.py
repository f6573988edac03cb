"""JPEG compression of batches of images."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor


def refuse_gradient(family: str, x: Tensor) -> None:
    """Raise TypeError for inputs that require a gradient, which would be lost."""
    if x.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            f"{family} passes no gradient to its input, which requires one: detach the input, or choose a "
            "transform that can be differentiated."
        )


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Return images (row, C, H, W), C = 1 or 3, of values from 0 to 1, after compression by Pillow.

    Bytes have no NaN, so images with NaN become NaN altogether.
    """
    refuse_gradient("JPEG", images)
    if images.is_meta:
        return images.clone()
    pixels = (images * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy()
    found = [compressed(image, quality) for image in pixels]
    whole = torch.from_numpy(np.stack(found)).movedim(-1, 1).to(images) / 255
    return whole.masked_fill(images.isnan().any(dim=(1, 2, 3), keepdim=True), torch.nan)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Return the bytes (H, W, C) after compression."""
    from PIL import Image

    grey = pixels.shape[-1] == 1
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if grey else pixels).save(file, "JPEG", quality=quality)
    found = np.array(Image.open(file))
    return found[..., None] if grey else found
