"""Import names of a package on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attributes(package: str, names: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return a module `__getattr__` that imports names on first use.

    Args:
        package: the module's `__name__`.
        names: the names to import from each module, by the module's dotted name.

    >>> attributes("numbers", {"math": ("sqrt", "pi")})("sqrt")(9)
    3.0
    """
    homes = {name: module for module, found in names.items() for name in found}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return find
