"""EfficientNet-lite0 on crops of whole photographs, moved as if the camera had moved."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

import invariscope as iv
from benchmarks.atlas.data import photographs
from benchmarks.atlas.declared import Case, changed
from benchmarks.atlas.efficientnet import entry, normalised

WINDOW, AROUND = 224, 336  # px
EDGE = (AROUND - WINDOW) // 2


def middle(images: Tensor) -> Tensor:
    """Return the middle of images as the network takes them."""
    return normalised(images[..., EDGE:-EDGE, EDGE:-EDGE])


ENTRY = replace(
    entry("lite0", side=WINDOW),
    samples=lambda: photographs.crops(AROUND),
    cases=(
        Case("mirror image", iv.Flip("horizontal"), changed(), {"preprocess": middle}),
        Case(
            "camera moved by 1 to 8 px", iv.Crop(WINDOW, [(0, 0), (1, 0), (0, 2), (4, 0), (0, 8)]), changed()
        ),
        Case("camera turned by ±10°", iv.Crop(WINDOW, degrees=[0, 10, -10]), changed()),
    ),
)
