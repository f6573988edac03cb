"""Convert arrays of other frameworks to tensors, and recognise their classes without importing them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

TRACED = (
    "it runs inside compiled code or a loop (jit, scan, tf.function), where it has no concrete "
    "value: select the layer that contains it"
)


def arrays_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the arrays in nested mappings, tuples and lists, with their paths, ignoring None.

    >>> list(arrays_in({"a": 1, "b": (2, None)}))
    [(('a',), 1), (('b', 0), 2)]
    """
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, tuple | list):
        parts = list(enumerate(value))
    else:
        if value is not None:
            yield path, value
        return
    for key, part in parts:
        yield from arrays_in(part, (*path, key))


def as_tensor(array: Any) -> Tensor | str:
    """Convert an array of any framework to a tensor (bfloat16 included), or return why this is impossible.

    >>> as_tensor(np.float32([1, 2])), as_tensor("text")
    (tensor([1., 2.]), 'it is a str, not an array of numbers')
    """
    if isinstance(array, Tensor):
        return array.detach()
    if is_tracer(array):
        return TRACED
    try:
        values = np.asarray(array)
    except Exception:  # TensorFlow raises NotImplementedError, others TypeError or ValueError
        return (
            TRACED if hasattr(array, "dtype") else f"it is a {type(array).__name__}, not an array of numbers"
        )
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16)
    if values.dtype.kind not in "fiubc":
        return f"it is a {type(array).__name__}, not an array of numbers"
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def as_numpy(x: Tensor) -> np.ndarray:
    """Return inputs as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def as_tensors(output: Any) -> Any:
    """Return an output with its arrays converted to tensors, keeping the nesting; lists become tuples."""
    if isinstance(output, Mapping):
        return {name: as_tensors(part) for name, part in output.items()}
    if isinstance(output, tuple | list):
        return tuple(as_tensors(part) for part in output)
    tensor = as_tensor(output)
    return tensor if isinstance(tensor, Tensor) else output


def is_tracer(value: Any) -> bool:
    """Return whether a value is a JAX tracer, which stands for an array and holds no numbers."""
    return any(cls.__name__ == "Tracer" and in_package(cls, "jax") for cls in type(value).__mro__)


def in_package(cls: type, *packages: str) -> bool:
    """Return whether a class is defined in one of these packages, without importing them."""
    return cls.__module__.partition(".")[0] in packages


def own_code(model: Any, *libraries: str) -> tuple[str, list[CodeType]]:
    """Return an object's class name, and the code of its methods that these libraries do not define."""
    cls = type(model)
    own = [c for c in cls.__mro__ if not in_package(c, "builtins", "abc", "typing", *libraries)]
    methods = [method for c in own for method in vars(c).values() if isinstance(method, FunctionType)]
    return f"{cls.__module__}.{cls.__qualname__}", [method.__code__ for method in methods]


def needed(module: str, extra: str) -> Any:
    """Import an optional package; the error names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this model needs an optional package: pip install 'invariscope[{extra}]' ({error})"
        ) from error
