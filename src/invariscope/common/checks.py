"""Checks of options that many classes and functions have in common."""

from __future__ import annotations

import operator
from typing import Any


def integer(name: str, value: Any, *, least: int, besides: tuple[Any, ...] = (), what: str = "") -> Any:
    """Return an integer option as Python's own, or one of the values that are allowed besides integers.

    Args:
        name: of the option.
        least: the smallest allowed integer.
        besides: other allowed values, such as None or "auto".
        what: what it counts, for the message, such as "samples".
    Raises:
        ValueError: anything else, booleans and floats included.

    >>> integer("draws", 3, least=1)
    3
    >>> integer("draws", 2.5, least=1, besides=(None,), what="random networks")
    Traceback (most recent call last):
    ValueError: draws must be an integer (random networks), at least 1, or None; got 2.5
    """
    if any(value is other or (isinstance(other, str) and value == other) for other in besides):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        counted = f" ({what})" if what else ""
        also = "".join(f", or {other!r}" for other in besides)
        raise ValueError(f"{name} must be an integer{counted}, at least {least}{also}; got {value!r}")
    return operator.index(value)
