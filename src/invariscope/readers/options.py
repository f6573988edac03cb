"""Refuse options that do not apply to a kind of model."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

_KINDS = {
    "KerasReader": "Keras models",
    "JaxReader": "Flax models and JAX functions",
    "OnnxReader": "ONNX models",
    "ExportedReader": "exported programs",
    "CallableReader": "functions",
}


def refuse_options(cls: type, given: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that the reader does not have."""
    taken = inspect.signature(cls).parameters
    for name in given:
        if name not in taken:
            kind = _KINDS.get(cls.__name__, f"models that {cls.__name__} reads")
            raise TypeError(f"{name}= does not apply to {kind}{_instead(name, taken)}")


def _instead(name: str, taken: Collection[str]) -> str:
    """Return what to do instead of passing an option that a reader does not have."""
    if name == "pool" and "preprocess" in taken:
        return ": pool the rows inside the function"
    if name in ("preprocess", "call", "pool"):
        return ", whose input is one tensor: pass a function of a batch's fields that returns {layer: array}"
    return ""
