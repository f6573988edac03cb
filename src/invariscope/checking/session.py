"""What a run of tests sets for all its assertions. Loads nothing, so that a test runner may import it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Session:
    """Defaults of assertions, and who wants to hear of them.

    Args:
        seed: where an assertion names none; None: 0.
        samples: where an assertion names none; None: all.
        hears: gets one line for every assertion made, whether it holds or not.
    """

    seed: int | None = None
    samples: int | None = None
    hears: Callable[[str], None] | None = None


_CURRENT: ContextVar[Session | None] = ContextVar("invariscope_session", default=None)


def current() -> Session:
    """The session that assertions are made in."""
    return _CURRENT.get() or Session()


@contextmanager
def using(session: Session) -> Iterator[None]:
    """Assertions made inside are of this session."""
    token = _CURRENT.set(session)
    try:
        yield
    finally:
        _CURRENT.reset(token)
