"""Option checks shared by many classes and functions."""

from __future__ import annotations

import operator
from typing import Any

from invariscope.common.registry import unknown


def integer(name: str, value: Any, *, least: int = 1, besides: tuple[Any, ...] = (), what: str = "") -> Any:
    """Return an integer option as a Python int, or another allowed value unchanged.

    Args:
        name: name of the option, shown in the message.
        least: the smallest allowed integer.
        besides: other allowed values, such as None or "auto".
        what: what the option counts, such as "samples", shown in the message.
    Raises:
        ValueError: any other value, including booleans and floats.

    >>> integer("draws", 3, least=1)
    3
    >>> integer("draws", 2.5, besides=(None,), what="random networks")
    Traceback (most recent call last):
    ValueError: draws must be an integer (random networks), at least 1, or None; got 2.5
    """
    if any(value is other or (isinstance(other, str) and value == other) for other in besides):
        return value
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        counted = f" ({what})" if what else ""
        also = "".join(f", or {other!r}" for other in besides)
        raise ValueError(f"{name} must be an integer{counted}, at least {least}{also}; got {value!r}")
    return found


def set_integers(instance: Any, *, besides: tuple[Any, ...] = (), what: str = "", **least: int) -> None:
    """Check integer fields of a frozen dataclass and store them as Python ints.

    Args:
        besides, what: as for `integer`.
        least: the smallest allowed integer of each field.
    Raises:
        ValueError: as for `integer`, for the first invalid field.
    """
    for name, smallest in least.items():
        value = integer(name, getattr(instance, name), least=smallest, besides=besides, what=what)
        object.__setattr__(instance, name, value)


def refuse_other(instance: Any, **allowed: tuple[Any, ...]) -> None:
    """Raise ValueError if an option has a value that is not allowed, suggesting the closest ones.

    >>> refuse_other(complex(1, 0), imag=(0.0, 1.0))
    """
    for name, values in allowed.items():
        given = getattr(instance, name)
        if given not in values:
            raise unknown(name, str(given), map(str, values))
