"""Option checks shared by many classes and functions."""

from __future__ import annotations

import itertools
import math
import numbers
import operator
import reprlib
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np

from invariscope.common.registry import unknown

MOST_ELEMENTS = 100_000
MOST_DRAWS = 10_000  # each needs a random generator of its own
"""Largest number of elements of a transform, and of other lists that are held in memory."""

_SHORT = reprlib.Repr()
_SHORT.maxlong = _SHORT.maxstring = _SHORT.maxother = 80


def integer(
    name: str,
    value: Any,
    *,
    least: int = 1,
    most: int | None = None,
    besides: tuple[Any, ...] = (),
    what: str = "",
) -> Any:
    """Return an integer option as a Python int, or another allowed value unchanged.

    Args:
        name: name of the option, shown in the message.
        least, most: the smallest and the largest allowed integer.
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
        raise ValueError(f"{name} must be an integer{counted}, at least {least}{also}; got {shown(value)}")
    if most is not None and found > most:
        raise ValueError(f"{name} must be at most {most:,}; got {shown(value)}")
    return found


def real(value: Any) -> float:
    """Return a real number, including those of NumPy, as a float; NaN for anything else or too large.

    >>> real(np.float32(0.5)), real(True), real("1"), real(10**400)
    (0.5, nan, nan, nan)
    """
    try:
        return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def elements(name: str, value: Any, *, least: int = 1) -> int:
    """Return a number of elements as an int; raise ValueError unless it is from `least` to `MOST_ELEMENTS`.

    >>> elements("m", 10**8)
    Traceback (most recent call last):
    ValueError: m must be at most 100,000; got 100000000
    """
    return integer(name, value, least=least, most=MOST_ELEMENTS)


def bounded(name: str, values: Iterable[Any]) -> list[Any]:
    """Return a list of entries; raise ValueError for more than `MOST_ELEMENTS`, without reading them all."""
    found = list(itertools.islice(values, MOST_ELEMENTS + 1))
    if len(found) > MOST_ELEMENTS:
        came = f"got {len(values):,}" if isinstance(values, Sized) else "got more"
        raise ValueError(f"{name} must have at most {MOST_ELEMENTS:,} entries, one per element; {came}")
    return found


def float_array(name: str, values: Any, form: str) -> np.ndarray:
    """Return numbers as an array of float64.

    Args:
        form: what the values must be, such as "a list of matrices", for the error message.

    >>> float_array("matrices", [[10**400]], "a matrix")
    Traceback (most recent call last):
    TypeError: matrices must be a matrix of numbers that fit into float64
    """
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise TypeError(f"{name} must be {form} of numbers that fit into float64") from None


def shown(value: Any) -> str:
    """Return the representation of a value, shortened so that a message stays one line.

    >>> shown([0] * 1000)
    '[0, 0, 0, 0, 0, 0, ...]'
    """
    return _SHORT.repr(value)


def set_integers(
    instance: Any,
    *,
    besides: tuple[Any, ...] = (),
    what: str = "",
    most: int | None = None,
    **least: int,
) -> None:
    """Check integer fields of a frozen dataclass and store them as Python ints.

    Args:
        besides, what, most: as for `integer`.
        least: the smallest allowed integer of each field.
    Raises:
        ValueError: as for `integer`, for the first invalid field.
    """
    for name, smallest in least.items():
        value = integer(name, getattr(instance, name), least=smallest, most=most, besides=besides, what=what)
        object.__setattr__(instance, name, value)


def refuse_other(instance: Any, **allowed: tuple[Any, ...]) -> None:
    """Raise ValueError if an option has a value that is not allowed, suggesting the closest ones.

    >>> refuse_other(complex(1, 0), imag=(0.0, 1.0))
    """
    for name, values in allowed.items():
        given = getattr(instance, name)
        if given not in values:
            raise unknown(name, str(given), map(str, values))
