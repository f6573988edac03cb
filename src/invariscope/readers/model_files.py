"""Models that are files: exported programs, Keras models, ONNX graphs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

SUFFIXES = (".keras", ".onnx", ".pt2")


def model_of_file(given: str | PathLike[str]) -> Any:
    """Return what is read in place of a file: its model, or for ONNX the path itself.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: not the path of such a file.
        ValueError: a damaged file.
        ImportError: the framework is missing; the message names the extra.
    """
    path = Path(given)
    if path.suffix not in SUFFIXES:
        raise TypeError(
            f"cannot read a {type(given).__name__} that is not the path of a model's file "
            f"({', '.join(SUFFIXES)}), got {str(path)!r}: pass a model, or name it on the command line, "
            "which knows more forms"
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
