"""Turn `sys.exit` in the code of a user into an error, since it would end the process without a result."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refused_exits() -> Iterator[None]:
    """Raise ValueError if code inside the context calls `sys.exit`; handlers of signals may.

    >>> try:
    ...     with refused_exits():
    ...         raise SystemExit(0)
    ... except ValueError as error:
    ...     print(str(error).partition(", which")[0].partition("called ")[2])
    sys.exit(0)
    """
    try:
        yield
    except SystemExit as end:
        frames = [frame for frame, _ in traceback.walk_tb(end.__traceback__)]
        if {frame.f_code for frame in frames} & _handlers():
            raise
        last = traceback.extract_tb(end.__traceback__)[-1]
        raise ValueError(
            f"{last.name!r} ({last.filename}, line {last.lineno}) called sys.exit({end.code!r}), which "
            "would end the process without a result: raise an exception instead"
        ) from end


def _handlers() -> set[object]:
    """Return the code of the Python functions that handle signals now."""
    found = map(signal.getsignal, signal.valid_signals())
    return {code for handler in found if (code := getattr(handler, "__code__", None)) is not None}
