"""Crops of photographs of landscapes, plants, people and things."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.atlas.data.debian import unpacked
from benchmarks.atlas.declared import Samples

DEBIAN = {"mate-backgrounds": "mate/nature/*.jpg", "lomiri-wallpapers-16.04": "*_by_*.jpg"}
SKIMAGE = ("astronaut", "chelsea", "coffee", "rocket")
DRAWN = ("analogpattern_by_Peter_Nerlich",)
SHORT = 400  # px, the shorter side


def crops(side: int) -> Samples:
    """Return the crops at both ends of each photograph; those of one photograph are one cluster."""
    from skimage import data

    found: dict[str, Any] = {name: getattr(data, name)() for name in SKIMAGE}
    sources = []
    for package, pattern in DEBIAN.items():
        files, source = unpacked(package)
        paths = sorted((files / "usr" / "share" / "backgrounds").glob(pattern))
        found |= {path.stem: path for path in paths if path.stem not in DRAWN}
        sources.append(source)
    images = {name: small(image) for name, image in found.items()}
    return Samples(
        name="crops",
        source=f"Debian: {', '.join(sources)}; scikit-image {version('scikit-image')}",
        licence="GPL-2+, CC-BY-SA-4.0, CC-BY-4.0, CC0",
        about=f"two crops of {side} px of each photograph, whose shorter side has {SHORT} px",
        values=torch.stack([crop for image in images.values() for crop in ends(image, side)]),
        cluster="photograph",
        clusters=[name for name in images for _ in range(2)],
    )


def small(image: Path | np.ndarray) -> Tensor:
    """Return a photograph (3, height, width) whose shorter side has the common length, from 0 to 1."""
    from PIL import Image

    whole = Image.open(image) if isinstance(image, Path) else Image.fromarray(image)
    factor = SHORT / min(whole.size)
    whole = whole.convert("RGB").resize([round(factor * length) for length in whole.size])
    return torch.from_numpy(np.array(whole)).movedim(-1, 0).float() / 255


def ends(image: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the squares at the upper left and at the lower right."""
    return image[:, :side, :side], image[:, -side:, -side:]
