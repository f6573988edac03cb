"""List the parts of a function or class that determine its results: code, constants, closures, globals."""

from __future__ import annotations

import contextlib
import dis
import importlib.util
import sys
from collections.abc import Iterator, Set
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


def global_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals that the code names, and what it may use from modules outside of installed packages.

    Modules that the code imports itself are included. Globals of functions from installed packages are not
    followed.
    """
    code = function.__code__
    if _is_installed(code.co_filename, function.__module__ or ""):
        return
    names, texts = _names(code), _texts(code)
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, value in sorted((found | _imported(code, function.__globals__)).items()):
        yield name, value
        yield from _module_parts(name, value, names | texts)


def _imported(code: CodeType, namespace: dict[str, Any]) -> dict[str, ModuleType]:
    """Return the modules outside of installed packages that the code itself imports when it runs."""
    found = {}
    for name in _import_names(code):
        with contextlib.suppress(Exception):  # the code may handle that there is no such module
            spec = importlib.util.find_spec(name, namespace.get("__package__"))
            if spec is not None and not _is_library(name, spec.origin):
                found[name] = importlib.import_module(name)
    return found


def _import_names(code: CodeType) -> set[str]:
    own = {i.argval for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
    return own.union(*map(_import_names, _inner(code)))


def _module_parts(path: str, module: Any, names: Set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes with these names of a module, and of the modules among them."""
    if not isinstance(module, ModuleType):
        return
    if _is_library(module.__name__, getattr(module, "__file__", None)):
        return
    for name in sorted(names & vars(module).keys()):
        value = vars(module)[name]
        yield f"{path}.{name}", value
        if getattr(value, "__name__", "").startswith(f"{module.__name__}."):
            yield from _module_parts(f"{path}.{name}", value, names)


def _is_library(module: str, path: str | None) -> bool:
    """Return whether a module belongs to Python, to an installed package or to this one."""
    return module.partition(".")[0] in _BY_NAME or path in _BUILT_IN or _is_installed(path or "", module)


def _is_installed(path: str, module: str) -> bool:
    return "site-packages" in path or "dist-packages" in path or module.partition(".")[0] == "invariscope"


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*map(_names, _inner(code)))


def _texts(code: CodeType) -> set[str]:
    """Return the constants that may name an attribute, as in `getattr(module, "size")`."""
    own = {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
    return own.union(*map(_texts, _inner(code)))


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


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
