"""Compile functions with numba, and cache the machine code if possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with numba and releases the GIL while it runs.

    The machine code is cached next to the source file or, if that folder is read-only, in the user's cache
    folder. If neither is writable, each process compiles the function again, which takes seconds.

    Args:
        options: options of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder for the cache is writable
            return numba.njit(nogil=True, **options)(function)

    return decorate
