"""Collect what determines the results of a function or class: code, constants, closures, globals."""

from __future__ import annotations

import builtins
import contextlib
import dis
import importlib.util
import sys
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

_BY_NAME = frozenset(["torch", "numpy", "jax", "jaxlib", *sys.stdlib_module_names]) - {"__main__"}
_BUILT_IN = ("built-in", "frozen")
_CALLED = (FunctionType, staticmethod, classmethod, property, cached_property, type(lru_cache(abs)))
_PLAIN = (str, bytes, int, float, complex, tuple, list, dict, set, frozenset, type(None))
_HELD = (*_PLAIN, Tensor, np.ndarray, type, ModuleType)


def belongs_to_library(value: Any) -> bool:
    """Return whether a function or class belongs to Python, torch, NumPy or JAX."""
    home = getattr(value, "__module__", None) or "builtins"
    if home == "builtins" and isinstance(value, (FunctionType, type)):
        return vars(builtins).get(value.__name__) is value  # others come from `exec` without a module name
    return str(home).partition(".")[0] in _BY_NAME


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


def global_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals that a function refers to, and the attributes of modules that its code may use.

    Modules that the function itself imports are included. Installed packages are excluded: neither the
    attributes of their modules nor the globals of their functions are yielded.
    """
    code, namespace = function.__code__, function.__globals__
    if _is_installed(code.co_filename, function.__module__ or ""):
        return
    names = _names(code)
    found = {name: namespace[name] for name in names.loaded if name in namespace}
    found |= _imported(names.imported, namespace.get("__package__"))
    for name, value in sorted(found.items()):
        yield name, value
        yield from _module_parts(name, value, names.attributes)


def _imported(names: Set[str], package: str | None) -> dict[str, ModuleType]:
    """Import the modules that code imports when it runs, and return those that are not installed packages."""
    found = {}
    for name in names:
        with contextlib.suppress(Exception):  # the code may handle a missing module
            spec = importlib.util.find_spec(name, package)
            if spec is not None and not _is_library(name, spec.origin):
                found[name] = importlib.import_module(name)
    return found


def _module_parts(path: str, module: Any, names: Set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a module that have these names, and recursively those of its submodules."""
    if not isinstance(module, ModuleType) or is_library_module(module):
        return
    for name in sorted(names & vars(module).keys()):
        value = vars(module)[name]
        yield f"{path}.{name}", value
        if getattr(value, "__name__", "").startswith(f"{module.__name__}."):
            yield from _module_parts(f"{path}.{name}", value, names)


def is_library_module(module: ModuleType) -> bool:
    """Return whether a module belongs to Python, to an installed package or to Invariscope."""
    return _is_library(module.__name__, getattr(module, "__file__", None))


def _is_library(module: str, path: str | None) -> bool:
    return module.partition(".")[0] in _BY_NAME or path in _BUILT_IN or _is_installed(path or "", module)


def _is_installed(path: str, module: str) -> bool:
    return "site-packages" in path or "dist-packages" in path or module.partition(".")[0] == "invariscope"


@dataclass(frozen=True)
class _Names:
    """Names that code uses: globals, attributes of any object, and imported modules."""

    loaded: frozenset[str]
    attributes: frozenset[str]
    imported: frozenset[str]


@lru_cache(maxsize=4096)
def _names(code: CodeType) -> _Names:
    """Return the names used in a code object and in the code objects nested in it.

    Strings count as attributes, because they may name one, as in `getattr(module, "size")`.
    """
    loaded, imported = set(), set()
    attributes = {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            imported.add(instruction.argval)
        elif instruction.opcode in dis.hasname:
            attributes.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _names(constant)
            loaded |= inner.loaded
            imported |= inner.imported
            attributes |= inner.attributes
    return _Names(frozenset(loaded), frozenset(attributes), frozenset(imported))


def _has_docstring(code: CodeType) -> bool:
    """Return whether the first constant is a docstring, that is, a string that no instruction loads."""
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
    """Yield methods and plain attributes, also inherited ones; of library classes, only the names."""
    for base in cls.__mro__:
        if belongs_to_library(base):
            yield "base", base.__qualname__
            continue
        for name, member in sorted(vars(base).items()):
            if isinstance(member, _CALLED) or (not name.startswith("__") and isinstance(member, _HELD)):
                yield name, member
