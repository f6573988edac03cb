"""Small images in rows and columns, as values in [0, 1] with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FRAME_LIMIT = 24


@dataclass(frozen=True)
class PixelRow:
    """A row of images of equal size.

    Args:
        label: the name of the row.
        detail: a number or a remark below the label.
        frames: values in [0, 1], shape (m, h, w) or, for colours, (m, h, w, 3).
        colour: "gray", or "viridis" for responses.
    """

    label: str
    detail: str
    frames: np.ndarray
    colour: str = "gray"

    def pixels(self) -> np.ndarray:
        """Return the images as bytes, (m, h, w, 3)."""
        if self.frames.ndim == 4:
            return np.round(self.frames * 255).astype(np.uint8)
        from matplotlib import colormaps

        return colormaps[self.colour](self.frames, bytes=True)[..., :3]


@dataclass(frozen=True)
class PixelGrid:
    """Rows of images under common column labels; `axis` says what the columns are, if labels do not."""

    columns: tuple[str, ...]
    rows: tuple[PixelRow, ...]
    axis: str = ""


def frame_choice(count: int, *, limit: int = FRAME_LIMIT) -> np.ndarray:
    """Return the indices of at most `limit` of `count` elements, evenly spaced, including the first.

    >>> frame_choice(5, limit=3)
    array([0, 1, 3])
    """
    return np.arange(count) if count <= limit else np.arange(limit) * count // limit


def picture(images: np.ndarray) -> np.ndarray:
    """Convert inputs (m, C, H, W) to images: (m, H, W) grey or, for three channels, (m, H, W, 3).

    Values within [0, 1] are unchanged. Other values, as in standardised inputs, are rescaled in the same way
    for all elements. Any other number of channels is averaged to one.
    """
    images = np.nan_to_num(np.asarray(images, dtype=np.float64))
    shown = np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images.mean(axis=1)
    return shown if shown.min() >= 0 and shown.max() <= 1 else stretch(shown)


def stretch(values: np.ndarray) -> np.ndarray:
    """Map values linearly onto [0, 1]; NaN and arrays without variation become 0.

    >>> stretch(np.array([1.0, 2.0, 3.0]))
    array([0. , 0.5, 1. ])
    """
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if high <= low:
        return np.zeros_like(values)
    return np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)


def element_labels(labels: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Return the labels of the elements, or their indices if there is not one label per element."""
    fitting = labels is not None and len(labels) == count
    return tuple(str(text) for text in labels) if fitting and labels else tuple(map(str, range(count)))
