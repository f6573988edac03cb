"""Load models from files: exported programs, Keras models, ONNX graphs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

SUFFIXES = (".keras", ".onnx", ".pt2")


def model_of_file(given: str | PathLike[str]) -> Any:
    """Load a model from a file; for ONNX, return the path itself.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the suffix of the file is not supported.
        ValueError: a damaged file.
        ImportError: the framework is missing; the message names the extra.
    """
    path = Path(given)
    if path.suffix not in SUFFIXES:
        raise TypeError(
            f"cannot load a model from {str(path)!r}; supported files: {', '.join(SUFFIXES)}. Pass a model, "
            "or use the command line, which supports more formats"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix == ".pt2":
        from invariscope.readers.exported import load_exported

        return load_exported(path)
    if path.suffix == ".keras":
        from invariscope.readers.keras import load_keras

        return load_keras(path)
    return path
