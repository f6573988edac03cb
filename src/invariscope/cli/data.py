"""Data by name: bundled and published data sets, array and text files, image folders, and user code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.cli.array_files import READERS, read_arrays
from invariscope.cli.references import is_reference, load_reference
from invariscope.common.reading import memory_limit, read_text, refuse_irregular, refuse_large
from invariscope.common.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

_MEMORY_OF_TEXT = 8  # bytes per byte of a file, for short lines
INPUT_NAMES, LABEL_NAMES = ("x", "images", "inputs"), ("y", "labels", "targets")


@dataclass(frozen=True, eq=False)
class FileData:
    """Arrays read from a file: inputs (sample, ...), and labels (sample,) or None."""

    name: str
    images: Tensor
    labels: Tensor | np.ndarray | None


def load_data(name: str, *, split: str | None = None, data_dir: Path | None = None) -> Any:
    """Load data by name.

    Args:
        name: a data set ("mnist_subset", "zoo:mnist_subset"), an array file (.npz, .npy, .safetensors), a
            text file (.txt, one sample per line), a folder of images, or a reference ("file.py:factory") to
            anything that `iv.measure` takes.
        split: for data sets, "train" or "test"; None means "test".
        data_dir: for data sets, the folder with the published files.
    Raises:
        ValueError: an unknown name or split, an unreadable file, or a file without an array of inputs.
        FileNotFoundError: files are missing; the message names them.
    """
    from invariscope.data.image_folder import ImageFolder
    from invariscope.zoo.datasets import DATASETS, load

    plain = name.removeprefix("zoo:")
    if plain in DATASETS:
        return load(plain, split=split or "test", data_dir=data_dir)
    if split is not None or data_dir is not None:
        raise ValueError(
            f"--split and --data-dir apply to data sets ({', '.join(DATASETS)}), not to {name!r}"
        )
    if is_reference(name) and not name.startswith("zoo:"):
        return load_reference(name)
    if Path(name).suffix in READERS:
        return _load_file(Path(name))
    if Path(name).suffix == ".txt":
        return _lines(Path(name))
    if Path(name).is_dir():
        return ImageFolder(Path(name)).folder
    hint = "Or give a .npz, .npy, .safetensors or .txt file, a folder of images, or file.py:factory."
    raise unknown("data", name, DATASETS, hint=hint)


def _load_file(path: Path) -> FileData:
    arrays = read_arrays(path)
    inputs = _chosen(arrays, INPUT_NAMES, path)
    if inputs is None:
        raise ValueError(
            f"{path} contains {sorted(arrays) or 'nothing'}; name the inputs {' or '.join(INPUT_NAMES)}, "
            f"and the labels {' or '.join(LABEL_NAMES)}"
        )
    return FileData(path.name, _floating(inputs), _chosen(arrays, LABEL_NAMES, path))


def _lines(path: Path) -> list[str]:
    """Return the non-blank lines of a text file."""
    refuse_irregular(path)
    refuse_large(path, _MEMORY_OF_TEXT * path.stat().st_size, memory_limit())
    lines = read_text(path).removeprefix("\ufeff").splitlines()
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{path} contains no text; write one sample per line")
    return texts


def _chosen(arrays: Mapping[str, Any], names: tuple[str, ...], path: Path) -> Any:
    present = [name for name in names if name in arrays]
    if len(present) > 1:
        raise ValueError(f"{path} contains both {' and '.join(map(repr, present))}; keep one of them")
    return arrays[present[0]] if present else None


def _floating(values: Any) -> Tensor:
    """Convert numbers to a tensor; float64, NumPy's default, becomes float32."""
    import torch

    from invariscope.data.arrays import as_tensor

    if isinstance(values, np.ndarray) and values.dtype.kind not in "fiub":
        raise ValueError(f"the inputs must be numbers, got an array of {values.dtype}")
    tensor = as_tensor(values, "inputs")
    return tensor.float() if tensor.dtype == torch.float64 else tensor
