"""Data sets of encoded images, which are decoded on demand."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invariscope.common.pixels import pixels_of
from invariscope.common.reading import read_bytes
from invariscope.data.decoding import Header, Size, bytes_of, decoded, header

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
_LISTED = 3


class LabelledImage(NamedTuple):
    """An image and its label; unlike a plain tuple, never read as two inputs (an image and a string)."""

    image: Any
    label: Any


class Encoded(abc.ABC):
    """Image files in a folder, in archives or in a table."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of files."""

    @abc.abstractmethod
    def read(self, place: int) -> bytes:
        """Return the bytes of a file."""

    @abc.abstractmethod
    def where(self, place: int) -> str:
        """Return the name of a file for messages."""

    @cached_property
    def _scanned(self) -> tuple[np.ndarray, list[Header | None]]:
        digests, headers = [], []
        for place in range(len(self)):
            content = self.read(place)
            digests.append(hashlib.blake2b(content, digest_size=8).digest())
            headers.append(header(content))
        return np.frombuffer(b"".join(digests), np.int64), headers

    @property
    def digests(self) -> np.ndarray:
        """(image,) digests of the files' bytes, which depend neither on names nor on labels."""
        return self._scanned[0]

    @property
    def headers(self) -> list[Header | None]:
        """What the files' headers say; None for files that cannot be read."""
        return self._scanned[1]


@dataclass(frozen=True, eq=False)
class ImageFiles(Encoded):
    """Image files by path."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, place: int) -> bytes:
        """Return the bytes of a file."""
        return read_bytes(self.paths[place])

    def where(self, place: int) -> str:
        """Return the path of a file."""
        return str(self.paths[place])


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Encoded images with their labels.

    Items are PIL images (8-bit, RGB or greyscale) or, if `tensors` is set, tensors (channel, row, column)
    with values from 0 to 1; with labels, they are pairs.

    Args:
        encoded: the files.
        name: name of the data.
        labels: (image,) words or integers, or None.
        classes: names of the classes, if the labels are integers and their names are known.
        size: size to which images are resized and cropped; None keeps their own sizes.
        tensors: whether items are tensors.
        remark: note on what was read.
    """

    encoded: Encoded
    name: str
    labels: Sequence[Any] | None = None
    classes: tuple[str, ...] = ()
    size: Size | None = None
    tensors: bool = False
    remark: str = ""

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, place: int) -> Any:
        """Return the image, with its label if there is one."""
        image = decoded(self.encoded.read(place), self.encoded.where(place))
        image = image if self.size is None else self.size.fitted(image)
        image = pixels_of(image, self.channels) if self.tensors else bytes_of(image)
        return image if self.labels is None else LabelledImage(image, self.labels[place])

    @property
    def keys(self) -> np.ndarray:
        """(image,) digests of the files' bytes."""
        return self.encoded.digests

    @cached_property
    def channels(self) -> int:
        """1 if all images are grey, otherwise 3."""
        return 1 if all(head.grey for head in self._heads) else 3

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """All different sizes of the images (rows, columns), ascending, after resizing and cropping."""
        own = {(head.rows, head.columns) for head in self._heads}
        return sorted(own if self.size is None else {self.size.result(*each) for each in own})

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(channels, rows, columns) if all images have the same size."""
        return (self.channels, *self.sizes[0]) if len(self.sizes) == 1 else None

    @property
    def words(self) -> tuple[str, ...]:
        """All different labels, sorted, if they are words."""
        words = {label for label in self.labels or () if isinstance(label, str)}
        return tuple(sorted(words))

    @property
    def note(self) -> str:
        """Note on what reading changes about the images; "" if nothing."""
        clear = sum(head.transparent for head in self._heads)
        small = 0
        if self.size is not None and self.size.rows is not None:
            wanted = self.size.result(0, 0)
            small = sum(head.rows < wanted[0] or head.columns < wanted[1] for head in self._heads)
        notes = [self.remark] if self.remark else []
        notes += [f"{_images(clear)} transparency, which was ignored"] if clear else []
        notes += [f"{small} of {len(self)} images were enlarged to the size asked for"] if small else []
        return "; ".join(notes)

    @property
    def _heads(self) -> list[Header]:
        return [head for head in self.encoded.headers if head is not None]

    def of_size(self, size: Any) -> ImageSet:
        """Return the images resized to a size; None keeps this size."""
        return self if size is None else replace(self, size=Size.of(size))

    def as_tensors(self) -> ImageSet:
        """Return the images as tensors.

        Raises:
            ValueError: the images differ in size.
        """
        if not self.tensors and len(self.sizes) > 1:
            (low, high), more = (self.sizes[0], self.sizes[-1]), len(self.sizes) - 2
            raise ValueError(
                f"{self.name} holds images of different sizes ({low[0]} × {low[1]}, {high[0]} × {high[1]}"
                f"{f' and {more} more' if more else ''}), so they cannot be stacked into a batch. Resize and "
                f"crop them before the transform (--size 224, or iv.read_data({self.name!r}, size=224) in "
                "Python), or convert them after it (--preprocess file.py:function, or preprocess=)"
            )
        return replace(self, tensors=True)


def _images(count: int) -> str:
    return "1 image has" if count == 1 else f"{count} images have"
