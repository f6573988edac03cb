"""Settings shared by all assertions of a test run. Test runners load this module, so it imports little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Session:
    """Defaults of assertions, and a callback for their verdicts.

    Args:
        seed: default seed; None means 0.
        samples: default number of samples, fewer if there are fewer; None means all.
        on_verdict: called with one line per assertion, whether it holds or not.
    """

    seed: int | None = None
    samples: int | None = None
    on_verdict: Callable[[str], None] | None = None

    def samples_of(self, length: int | None) -> int | None:
        """Return the default number of samples for data of some length; None means all of them.

        >>> [Session(samples=100).samples_of(length) for length in (64, 200, None)]
        [64, 100, 100]
        """
        return self.samples if self.samples is None or length is None else min(self.samples, length)


_CURRENT: ContextVar[Session | None] = ContextVar("invariscope_session", default=None)


def current() -> Session:
    """Return the current session."""
    return _CURRENT.get() or Session()


@contextmanager
def using(session: Session) -> Iterator[None]:
    """Use this session for assertions inside the context."""
    token = _CURRENT.set(session)
    try:
        yield
    finally:
        _CURRENT.reset(token)
