"""Decode image files to upright images and of one size."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from invariscope.common.pixels import GREY

_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_MOST_PIXELS = 1 << 26  # 67 million, which take 200 MB in RGB
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
_DEEPEST = 65535  # of 16-bit images
_PER_BYTE = _DEEPEST / 255
SQUARE = "square"


class Header(NamedTuple):
    """Size of an image as it is displayed, whether it is grey, and whether it has transparent pixels."""

    rows: int
    columns: int
    grey: bool
    transparent: bool


@dataclass(frozen=True)
class Size:
    """Size that images get before the transform.

    Args:
        rows, columns: the image is resized to the smallest size that covers them, keeping its aspect ratio,
            and its centre is cropped. None only crops the central square.
    """

    rows: int | None = None
    columns: int | None = None

    @classmethod
    def of(cls, wanted: Any) -> Size:
        """Return the size for 224, (224, 320), "224", "224x320" or "square".

        >>> Size.of("224x320"), Size.of(224) == Size(224, 224), Size.of("square")
        (Size(rows=224, columns=320), True, Size(rows=None, columns=None))

        Raises:
            ValueError: anything else.
        """
        if isinstance(wanted, Size):
            return wanted
        if wanted == SQUARE:
            return cls()
        parts = wanted.lower().replace("×", "x").split("x") if isinstance(wanted, str) else wanted
        parts = [parts] if isinstance(parts, int | np.integer) else parts
        try:
            sides = [int(side) for side in parts]
        except (TypeError, ValueError):
            sides = []
        if len(sides) not in (1, 2) or min(sides, default=0) < 1:
            raise ValueError(
                f"size must be a number of pixels (224), rows and columns (224x320 or (224, 320)), or "
                f"{SQUARE!r}; got {wanted!r}"
            )
        return cls(sides[0], sides[-1])

    def result(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the rows and columns that an image gets."""
        if self.rows is None or self.columns is None:
            return min(rows, columns), min(rows, columns)
        return self.rows, self.columns

    def fitted(self, image: Any) -> Any:
        """Return the resized and cropped image."""
        from PIL import Image, ImageOps

        rows, columns = self.result(image.height, image.width)
        if self.rows is not None:
            image = ImageOps.cover(image, (columns, rows), Image.Resampling.BILINEAR)
        left, top = (image.width - columns) // 2, (image.height - rows) // 2
        return image.crop((left, top, left + columns, top + rows))


def header(content: bytes) -> Header | None:
    """Return what the header of an image file says; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as opened:
            columns, rows = opened.size
            if opened.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                rows, columns = columns, rows
            return Header(rows, columns, opened.mode in GREY, opened.has_transparency_data)
    except Exception:  # a damaged image can fail in any way; decoding it says how
        return None


def decoded(content: bytes, where: str) -> Any:
    """Return the image in a file, as it is displayed: RGB, 8-bit greyscale ("L"), or deeper greyscale ("F").

    Deeper images (16 bits per pixel) get values from 0 to 255 with fractions. Of an animation, the first
    frame is returned. Transparency is ignored.

    Args:
        content: the bytes of the file.
        where: name of the file for the error.
    Raises:
        ValueError: not an image that can be read, or more than 67 million pixels.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise ValueError(f"it has {opened.width:,} × {opened.height:,} pixels")
            upright = ImageOps.exif_transpose(opened)
            if upright.mode in _DEEP:
                return Image.fromarray(_scaled(np.asarray(upright), upright.mode))
            if upright.mode == "P" and upright.has_transparency_data:  # otherwise, PIL warns
                upright = upright.convert("RGBA")
            return upright.convert("L" if upright.mode in GREY else "RGB")
    except Exception as error:  # a damaged image can fail in any way
        raise ValueError(f"{where} cannot be read as an image ({error}); repair or remove it") from error


def _scaled(values: np.ndarray, mode: str) -> np.ndarray:
    """Return the pixels of a deep image with values from 0 to 255."""
    low, high, most = float(values.min()), float(values.max()), 1.0 if mode == "F" else float(_DEEPEST)
    if not (low >= 0 and high <= most):  # also NaN
        raise ValueError(f"its values range from {low:g} to {high:g}, but must lie in 0 to {most:g}")
    return (values * (255.0 if mode == "F" else 1 / _PER_BYTE)).astype(np.float32)


def bytes_of(image: Any) -> Any:
    """Return a decoded image with 8 bits per channel."""
    from PIL import Image

    return Image.fromarray(np.asarray(image).round().astype(np.uint8)) if image.mode == "F" else image
