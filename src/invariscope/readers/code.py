"""List the parts of a function or class that determine its results: code, constants, closures, globals."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

_BY_NAME = frozenset(["torch", "numpy", "jax", "jaxlib", *sys.stdlib_module_names]) - {"__main__"}
_CALLED = (FunctionType, staticmethod, classmethod, property, cached_property, type(lru_cache(abs)))
_PLAIN = (str, bytes, int, float, complex, tuple, list, dict, set, frozenset, type(None))
_HELD = (*_PLAIN, Tensor, np.ndarray, type, ModuleType)


def is_library(value: Any) -> bool:
    """Return whether a function or class belongs to Python, torch, NumPy or JAX."""
    return str(getattr(value, "__module__", None) or "builtins").partition(".")[0] in _BY_NAME


def function_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what determines a function's result, except its arguments and globals."""
    yield "name", function.__qualname__
    yield "code", function.__code__
    yield "defaults", function.__defaults__
    yield "keywords", function.__kwdefaults__
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name != "__class__":
            yield name, _content(cell)
    if vars(function):
        yield "attributes", {k: v for k, v in vars(function).items() if k != "__wrapped__"}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _is_installed(function: FunctionType) -> bool:
    path, module = function.__code__.co_filename, function.__module__ or ""
    return "site-packages" in path or "dist-packages" in path or module.partition(".")[0] == "invariscope"


def global_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals that the code names, and the attributes that it may use from modules of its package.

    Globals of functions from installed packages are not followed.
    """
    if _is_installed(function):
        return
    names, package = sorted(_names(function.__code__)), (function.__module__ or "").partition(".")[0]
    for name in names:
        value = function.__globals__.get(name, function)
        if value is function:
            continue
        yield name, value
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] == package:
            yield from ((f"{name}.{n}", vars(value)[n]) for n in names if n in vars(value))


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _has_docstring(code: CodeType) -> bool:
    """Return whether the first constant is a docstring: a string that no instruction loads."""
    if not code.co_consts or not isinstance(code.co_consts[0], str):
        return False
    return not any(i.opcode in dis.hasconst and i.arg == 0 for i in dis.get_instructions(code))


def code_parts(code: CodeType) -> Iterator[tuple[str, Any]]:
    """Yield bytecode, names and constants, but not line numbers."""
    yield "code", code.co_code
    yield "names", code.co_names
    yield "constants", code.co_consts[1:] if _has_docstring(code) else code.co_consts
    yield "free", code.co_freevars


def class_parts(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield methods and plain attributes, including inherited ones, except those of library classes."""
    for base in cls.__mro__:
        if is_library(base):
            yield "base", base.__qualname__
            continue
        for name, member in sorted(vars(base).items()):
            if isinstance(member, _CALLED) or (not name.startswith("__") and isinstance(member, _HELD)):
                yield name, member
