"""Compile loops, and cache the machine code where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with numba, without the GIL.

    The machine code is cached beside the source file or, if that is read-only, in the user's cache folder. If
    neither can be written to, each process compiles the function anew, which takes seconds.

    Args:
        options: options of `numba.njit`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # there is no place for a cache
            return numba.njit(nogil=True, **options)(function)

    return decorate
