"""Photographs of animals, cut out along their outlines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.atlas.data.debian import unpacked
from benchmarks.atlas.declared import Samples

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = "tuxpaint-stamps-default"
FILLED = 0.97  # of the width, by the diagonal of the animal


def animals(side: int) -> Samples:
    """Return the animals on white squares, small enough that no rotation moves them out of the image."""
    files, source = unpacked(PACKAGE)
    folder = files / "usr" / "share" / "tuxpaint" / "stamps" / "animals"
    paths = sorted(path for path in folder.rglob("*.png") if "cartoon" not in path.parts)
    return Samples(
        name="animals",
        source=f"Debian: {source}",
        licence="GPL-2",
        about=f"photographs of single animals, cut out, on white squares of {side} px",
        values=torch.stack([on_white(path, side) for path in paths]),
        cluster="photograph",
    )


def on_white(path: Path, side: int) -> Tensor:
    """Return the image (3, side, side), with values from 0 to 1."""
    from PIL import Image

    image: Any = Image.open(path).convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    factor = FILLED * side / math.hypot(*image.size)
    image = image.resize([max(1, round(factor * length)) for length in image.size], Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, tuple((side - length) // 2 for length in image.size))
    return torch.from_numpy(np.array(square.convert("RGB"))).movedim(-1, 0).float() / 255
