"""The two published layouts of CIFAR-10: binary records, and Python pickles, which are read safely."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from invariscope.common.reading import read_bytes
from invariscope.zoo.formats.pickles import refuse_costly

_PIXELS = 3 * 32 * 32
_RECORD = 1 + _PIXELS
_CLASSES = 10
_MOST_STEPS = 300_000  # of a pickle; the published files have about 60,000
_LARGEST = 1 << 27  # bytes; the published files have 31 million


def read_binary_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images (n, 3, 32, 32) and labels (n,) from a `*.bin` file: records of a label and 3,072 bytes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: too large, an incomplete record, or labels beyond the ten classes.

    Source:
        Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; "Binary version" on the web
        page of the data set.
    """
    content = np.frombuffer(read_bytes(path, _LARGEST), dtype=np.uint8)
    if not content.size or content.size % _RECORD:
        raise ValueError(
            f"{path} is truncated or not a CIFAR-10 batch: {content.size:,} bytes are not a multiple of the "
            f"record size {_RECORD:,}. Download the original file again."
        )
    records = content.reshape(-1, _RECORD)
    return _checked(path, records[:, 1:], records[:, 0])


def read_python_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images (n, 3, 32, 32) and labels (n,) from a Python batch.

    These files are pickles, which can run any code when they are loaded. Nothing in them is executed here:
    the only allowed constructors are the four of the original files, each replaced by a stand-in that only
    collects bytes. A file with any other constructor is rejected.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a CIFAR pickle, or one with unexpected objects or contents.
    """
    content = read_bytes(path, _LARGEST)
    try:
        refuse_costly(io.BytesIO(content), most_steps=_MOST_STEPS)
        batch = _Restricted(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = _entry(batch, "data").array(), _integers(_entry(batch, "labels"))
    except _Refused as error:
        raise ValueError(
            f"{path} was rejected: its pickle uses {error}, which no CIFAR-10 batch needs and which could "
            "run code. Use the binary version, cifar-10-binary.tar.gz."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(
            f"{path} is truncated or not a CIFAR-10 Python batch ({type(error).__name__}: {error}). "
            "Download the original file again, or use the binary version, cifar-10-binary.tar.gz."
        ) from error
    return _checked(path, pixels, labels)


def _checked(path: Path, pixels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if pixels.ndim != 2 or pixels.shape != (len(labels), _PIXELS) or labels.ndim != 1:
        raise ValueError(
            f"{path}: expected {_PIXELS:,} bytes per label, got pixels {pixels.shape} and labels "
            f"{labels.shape}. Download the original file again."
        )
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= _CLASSES:
        raise ValueError(
            f"{path}: labels must be 0 to {_CLASSES - 1}, got {len(labels)} labels up to "
            f"{labels.max(initial=0)}. Is it CIFAR-100, or another file?"
        )
    return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _integers(labels: Any) -> np.ndarray:
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError("its labels are not a list of integers")
    return np.array(labels, dtype=np.int64)


def _entry(batch: Any, key: str) -> Any:
    # Python 2 wrote the original keys as bytes; files rewritten by Python 3 have text.
    return batch[key.encode()] if key.encode() in batch else batch[key]


class _Refused(Exception):
    """Raised for a constructor that no CIFAR-10 batch needs."""


class _Array:
    """Stand-in for a NumPy array while unpickling: stores the state, builds nothing."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, dtype, by_columns, content = self.state
        if not isinstance(dtype, _Dtype) or dtype.code != "u1" or type(content) is not bytes or by_columns:
            raise ValueError("the pixels are not a plain array of unsigned bytes")
        return np.frombuffer(content, dtype=np.uint8).reshape(tuple(map(int, shape)))


class _Dtype:
    """Stand-in for a NumPy dtype while unpickling: stores its code, such as "u1"."""

    def __init__(self, code: Any = b"", *_: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Ignore the byte order and other details, which are irrelevant for single bytes."""


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """Stand-in for `codecs.encode`, which Python 3 uses to pickle bytes in old protocols."""
    if type(text) is not str or encoding not in ("latin1", b"latin1"):
        raise _Refused(f"codecs.encode with {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _latin1,
}


class _Restricted(pickle.Unpickler):
    """Unpickler that allows the constructors of `_STAND_INS`, and rejects others before calling anything."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _STAND_INS:
            raise _Refused(f"{module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise _Refused("a persistent object")
