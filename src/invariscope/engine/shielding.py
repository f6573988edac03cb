"""Let Ctrl-C and SIGTERM take effect only between two blocks, so that sums are never left half-updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def shielded() -> Iterator[None]:
    """Run the context to its end before the handlers of SIGINT and SIGTERM are called.

    A second signal takes effect immediately. A signal without a Python handler, such as SIGTERM outside the
    command line, ends the process as usual. Has no effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in _SIGNALS:
        if callable(handler := signal.getsignal(number)):
            handlers[number] = handler
    waiting: list[int] = []

    def later(number: int, frame: FrameType | None) -> None:
        if waiting:
            handlers[number](number, frame)
        waiting.append(number)

    for number in handlers:
        signal.signal(number, later)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in waiting:
            handlers[number](number, None)
