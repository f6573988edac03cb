"""Small photographs of every mode, in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

CLASSES = ("cat", "dog", "emu")


def photo(rows: int, columns: int, seed: int = 0) -> Image.Image:
    """A smooth photograph."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC)


def photo_folder(folder: Path, count: int = 8, *, sides: tuple[int, ...] = (16,)) -> Path:
    """A folder with one subfolder per class, whose images are square and take turns in their sizes."""
    for kind, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for place in range(count):
            side = sides[place % len(sides)]
            photo(side, side, seed=100 * kind + place).save(folder / name / f"{place}.png")
    return folder


def classifier(channels: int = 3) -> nn.Sequential:
    """A model of images of any size, with one output per class."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    )


def tensor_of(image: Image.Image) -> torch.Tensor:
    """What torchvision's `to_tensor` returns."""
    return torch.from_numpy(np.array(image)).movedim(-1, 0) / 255
