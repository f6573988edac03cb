"""Arrays from `.npz`, `.npy` and `.safetensors` files, which may be damaged or hostile."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from invariscope.common.reading import memory_limit, refuse_irregular, refuse_large, refuse_zip_bomb
from invariscope.common.sealing import verified

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MOST_ENTRIES = 10_000


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name; that of a `.npy` file is called "x".

    No more memory is used than the file has bytes, except for compressed `.npz` files.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, damaged, in another format, with pickled objects, or too large.
    """
    refuse_irregular(path)
    refuse_large(path, path.stat().st_size, most_memory())
    try:
        return READERS[path.suffix](path)
    except RecursionError:
        raise _unreadable(path, "its header is nested too deeply") from None
    except MemoryError:
        raise _unreadable(path, "there is not enough memory for it") from None
    except Exception as error:  # a damaged file can fail in any way
        raise _unreadable(path, error) from error


def _unreadable(path: Path, why: object) -> ValueError:
    return ValueError(
        f"cannot read arrays from {path} ({shorten(str(why), 200)}). The file may be truncated or in another "
        "format; pickled objects are never read."
    )


def most_memory() -> int:
    """Return the largest memory that a file of data may take, in bytes: all memory, if that is known."""
    return max(memory_limit(), _physical_memory())


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not available on every system
        return 0


def _read_npy(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        _refuse_other_size(stream, path.stat().st_size)
        return {"x": np.load(stream, allow_pickle=False)}


def _read_npz(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise ValueError(f"it has {len(entries):,} entries; the limit is {_MOST_ENTRIES:,}")
        refuse_zip_bomb(path, archive)
        for entry in entries:
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as stream:
                _refuse_other_size(stream, entry.file_size)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return dict(arrays)


def _refuse_other_size(stream: Any, size: int) -> None:
    """Raise ValueError unless the array's header declares as many bytes as there are, and rewind."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version[0]}.{version[1]} of its format is not supported")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it contains pickled objects")
    declared, found = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if declared != found:
        raise ValueError(
            f"its header declares {declared:,} bytes of values, shape {shape}, but there are {found:,}"
        )
    stream.seek(0)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    verified(path)
    return load_file(path)


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
}
