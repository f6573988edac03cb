"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attributes(package: str, names: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that imports names from where they live.

    Args:
        package: the module's `__name__`.
        names: dotted module to the names that it defines.

    >>> attributes("numbers", {"math": ("sqrt", "pi")})("sqrt")(9)
    3.0
    """
    homes = {name: module for module, found in names.items() for name in found}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return find
