"""Check the options of plots by the types that `prepare` declares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from invariscope.common.checks import integer, shown
from invariscope.common.registry import refuse_unknown_options


def checked(plot: Any, options: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Return the options of a plot's `prepare`, with numbers as Python's.

    Args:
        plot: the class.
        options: keywords and values.
        name: the plot's name in messages.
    Raises:
        TypeError: an option that the plot does not take, or a value of the wrong type.
        ValueError: a number that is too small.
    """
    refuse_unknown_options(plot.prepare, options, name=f"{name!r}")
    kinds = inspect.signature(plot.prepare).parameters
    return {
        option: _checked(option, value, str(kinds[option].annotation)) for option, value in options.items()
    }


def _checked(option: str, value: Any, kind: str) -> Any:
    optional = kind.endswith("| None")
    if value is None and optional:
        return None
    known = _KINDS.get(kind.removesuffix("| None").strip())
    if known is None:
        return value
    if known is _integer:
        return integer(option, value, most=_MOST)
    allowed, what = known
    if not allowed(value):
        also = " or None" if optional else ""
        raise TypeError(f"{option}= must be {what}{also}; got {shown(value)}")
    return [value] if what == _NAMES and isinstance(value, str) else value


def _integer(value: Any) -> bool:
    return isinstance(value, int)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value)


def _patterns(value: Any) -> bool:
    return _text(value) or _texts(value)


_MOST = 1_000_000  # of units, layers or pixels
_NAMES = "a name or a list of names"
_KINDS: dict[str, Any] = {
    "str": (_text, "a name"),
    "bool": (_flag, "True or False"),
    "int": _integer,
    "Sequence[str]": (_patterns, _NAMES),
    "Sequence[str] | str": (_patterns, 'a pattern such as "conv*", a list of patterns, "auto"'),
}
