"""The IDX format of MNIST and Fashion-MNIST, compressed or not."""

from __future__ import annotations

import gzip
import math
import zlib
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from invariscope.common.reading import refuse_irregular

_GZIP = b"\x1f\x8b"
_UINT8 = 8
_LARGEST = 1 << 27  # bytes; MNIST's largest file has 47 million


def read_idx(path: Path, *, ndim: int) -> np.ndarray:
    """Read the unsigned bytes of an IDX file as an array with `ndim` axes.

    The first bytes of the file, not its name, show whether it is compressed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an IDX file, a wrong number of axes or element type, or fewer or more bytes than the
            header declares.

    Source:
        LeCun, Cortes and Burges, The MNIST database, "File formats".
    """
    try:
        with closing(_open(path)) as stream:
            shape = _header(path, stream, ndim)
            content = stream.read(math.prod(shape) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"its compressed data is incomplete or damaged ({error})") from error
    if len(content) != math.prod(shape):
        got = "more" if len(content) > math.prod(shape) else f"only {len(content):,}"
        raise _damaged(path, f"its header declares {math.prod(shape):,} bytes of values, but there are {got}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _open(path: Path) -> BinaryIO:
    refuse_irregular(path)
    with path.open("rb") as stream:
        compressed = stream.read(2) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def _header(path: Path, stream: BinaryIO, ndim: int) -> tuple[int, ...]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:3] != bytes([0, 0, _UINT8]):
        raise ValueError(
            f"{path} is not an IDX file of bytes: it starts with {magic.hex(' ') or 'nothing'}, "
            f"expected 00 00 08 {ndim:02x}. Download the original file again."
        )
    if magic[3] != ndim:
        raise ValueError(
            f"{path} has {magic[3]} axes, expected {ndim}: images have 3, labels 1. Were the files swapped?"
        )
    sizes = stream.read(4 * ndim)
    if len(sizes) != 4 * ndim:
        raise _damaged(path, "it ends within its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if math.prod(shape) > _LARGEST:
        raise _damaged(path, f"its header declares an impossible shape, {shape}")
    return shape


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} is truncated or damaged: {what}. Download the original file again.")
