"""Versions of the software behind a result."""

from __future__ import annotations

import importlib
import platform


def versions(*modules: str) -> dict[str, str]:
    """Return the versions of this package, Python and other modules.

    >>> sorted(versions("numpy"))
    ['invariscope', 'numpy', 'python']
    """
    found = {name: importlib.import_module(name).__version__ for name in ("invariscope", *modules)}
    return {**found, "python": platform.python_version()}
