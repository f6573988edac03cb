"""References to objects in user code: `file.py:name` and `package.module:name`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from invariscope.common.exits import refused_exits
from invariscope.common.registry import unknown

_REFERENCE = re.compile(r"(?P<place>[^:'\"()\[\]]+):(?P<name>[A-Za-z_]\w*)")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def is_reference(text: str) -> bool:
    """Return whether a text has the form `file.py:name` or `package.module:name`.

    >>> is_reference("nets/plain.py:make"), is_reference("Rotation.circle(16)"), is_reference("run/x.pt2")
    (True, False, False)
    """
    match = _REFERENCE.fullmatch(text)
    return bool(match) and bool(match["place"].endswith(".py") or _PACKAGE.fullmatch(match["place"]))


def load_reference(text: str) -> Any:
    """Return the object that a reference names, or the result of calling it if it is a function or class.

    The folder of the user's file is importable, as when running `python file.py`.

    Raises:
        FileNotFoundError: the file does not exist.
        ImportError: the module does not exist.
        ValueError: the module does not have the name, or the user's code failed.
    """
    return _named(text, lambda found: found() if _is_factory(found) else found)


def load_factory(text: str) -> Callable[[], Any]:
    """Return the function or class that the reference names, without calling it.

    Raises:
        ValueError: the reference names something else. Further errors are those of `load_reference`.
    """

    def factory(found: Any) -> Any:
        if not _is_factory(found):
            raise ValueError(f"{text} must name a function or class, got {type(found).__name__}")
        return found

    return _named(text, factory)


def _named(text: str, use: Callable[[Any], Any]) -> Any:
    match = _REFERENCE.fullmatch(text)
    assert match
    place, name = match["place"], match["name"]
    if place.endswith(".py") and not Path(place).is_file():
        raise FileNotFoundError(f"no such file: {place}")
    try:
        with refused_exits():
            module = _file(Path(place).absolute()) if place.endswith(".py") else _module(place)
            return use(_member(module, name, place))
    except (ValueError, TypeError, OSError, ImportError) as error:
        error.add_note(f"(from {text}; --debug shows where)")
        raise
    except Exception as error:
        raise ValueError(
            f"{text} failed with {type(error).__name__}: {error} (--debug shows where)"
        ) from error


@functools.cache
def _file(path: Path) -> ModuleType:
    """Import a file, only once even if it defines the model, the data and the transform."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module in sys.modules. A module already loaded under that name is kept.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _member(module: ModuleType, name: str, place: str) -> Any:
    if not hasattr(module, name):
        raise unknown(f"name in {place}", name, [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, name)


def _is_factory(found: Any) -> bool:
    return inspect.isroutine(found) or inspect.isclass(found) or isinstance(found, functools.partial)
