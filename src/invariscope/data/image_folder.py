"""Data set of the images in a folder, with one subfolder per class, read on demand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invariscope.common.reading import read_bytes, refuse_irregular

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


_MOST_PIXELS = 1 << 26  # 67 million, which take 200 MB in RGB


class LabelledImage(NamedTuple):
    """An image and its label; unlike a plain tuple, never read as two inputs (an image and a string)."""

    image: Any
    label: Any


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images in the subfolders of a folder, labelled by subfolder name, or in the folder itself, unlabelled.

    Keys are digests of the files' bytes, so they do not depend on file names or labels.

    Args:
        folder: path of the folder.
    Raises:
        ValueError: the folder does not exist or has no images.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(
                f"{self.folder} is not a folder of images; read any other file yourself and pass its arrays"
            )
        if not self.files:
            raise ValueError(
                f"{self.folder} holds no images ({', '.join(sorted(_ENDINGS))}); put them into the folder or "
                "into one subfolder per class"
            )

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Paths of the images in subfolders or, if there are none, of those in the folder itself."""
        inside = [path for path in sorted(self.folder.glob("*/*")) if path.suffix.lower() in _ENDINGS]
        flat = [path for path in sorted(self.folder.glob("*")) if path.suffix.lower() in _ENDINGS]
        return tuple(inside or flat)

    @property
    def labelled(self) -> bool:
        """Whether the images are in subfolders, whose names are the labels."""
        return self.files[0].parent != self.folder

    @cached_property
    def keys(self) -> np.ndarray:
        """(sample,) digests of the files."""
        found = (hashlib.blake2b(read_bytes(path), digest_size=8).digest() for path in self.files)
        return np.frombuffer(b"".join(found), np.int64)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Any:
        """Return the image, in RGB or greyscale, and the name of its subfolder, if any."""
        path = self.files[place]
        image = _opened(path)
        return LabelledImage(image, path.parent.name) if self.labelled else image


def _opened(path: Path) -> Any:
    """Return the image in a file.

    Raises:
        ValueError: not an image that can be read, or more than 67 million pixels.
    """
    from PIL import Image

    refuse_irregular(path)
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise ValueError(f"it has {opened.width:,} × {opened.height:,} pixels")
            return opened.convert("L" if opened.mode in ("1", "L", "I", "F", "I;16") else "RGB")
    except Exception as error:  # a damaged image can fail in any way
        raise ValueError(f"{path} cannot be read as an image ({error}); repair or remove it") from error
