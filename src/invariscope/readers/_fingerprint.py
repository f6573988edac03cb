"""Digests that tell two models apart, and are the same in another process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEPTH = 4


def fingerprint_module(model: nn.Module) -> str:
    """SHA-256 over the classes of all modules and the names, shapes, dtypes and values of all tensors."""
    digest = hashlib.sha256()
    for name, module in model.named_modules(remove_duplicate=False):
        digest.update(f"{name}:{getattr(module, 'original_name', '') or type(module).__name__};".encode())
    for kind in (model.named_parameters, model.named_buffers):
        for name, tensor in kind(remove_duplicate=False):
            digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype};".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    dense = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
    return dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def fingerprint_callable(function: Any) -> str:
    """SHA-256 over the name, the code, and what arrays, modules, numbers and texts the callable holds.

    What it reaches otherwise (globals, files, objects of other kinds) is not seen.
    """
    digest = hashlib.sha256()
    _add(digest, function, _DEPTH)
    return digest.hexdigest()


def _add(digest: Any, value: Any, depth: int) -> None:
    if depth < 0:
        return
    if isinstance(value, nn.Module):
        digest.update(fingerprint_module(value).encode())
    elif isinstance(value, Tensor):
        digest.update(f"{tuple(value.shape)}:{value.dtype};".encode())
        digest.update(_bytes(value))
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.shape}:{value.dtype};".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (str, bytes, int, float, complex, bool, type(None))):
        digest.update(f"{type(value).__name__}:{value!r};".encode())
    else:
        for part in _parts(value):
            _add(digest, part, depth - 1)


def _parts(value: Any) -> list[Any]:
    """What a compound value consists of, in a fixed order."""
    if isinstance(value, CodeType):
        return [value.co_code, *value.co_names, *value.co_consts]
    if isinstance(value, Mapping):
        return [part for key in sorted(value, key=str) for part in (str(key), value[key])]
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    if hasattr(value, "__func__"):
        return [value.__func__, value.__self__]
    if isinstance(value, type):
        return [value.__qualname__]
    return [type(value).__qualname__, getattr(value, "__dict__", {}), getattr(value, "__name__", "")]
