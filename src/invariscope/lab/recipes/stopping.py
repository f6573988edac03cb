"""Stop the process of a cell early: on SIGTERM, or when the process that started it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_S = 5.0
PATIENCE_S = 2 * GRACE_S  # how long a process may still hold a cell after SIGTERM
PARENT = "INVARISCOPE_PARENT"
_PR_SET_PDEATHSIG = 1
_REQUESTED = threading.Event()


@contextlib.contextmanager
def stopping_gently() -> Iterator[None]:
    """On SIGTERM, let a training run save its checkpoint; the process ends within a few seconds.

    For use in the main thread of a process that runs one cell.
    """
    _REQUESTED.clear()
    before = signal.signal(signal.SIGTERM, _request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def raise_if_requested() -> None:
    """Raise KeyboardInterrupt if SIGTERM was received; call it where training can be resumed."""
    if _REQUESTED.is_set():
        raise KeyboardInterrupt


def end_with_parent() -> None:
    """Arrange for SIGTERM to be sent to this process when its parent, given by `parent_named`, ends.

    On systems other than Linux, the cell keeps running to its end, and no other process can run it meanwhile.
    """
    parent = int(os.environ.get(PARENT, "0"))
    if not parent or not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # the parent has already ended
        sys.exit(128 + signal.SIGTERM)


def parent_named() -> dict[str, str]:
    """Return the environment variable by which a process started from here knows its parent."""
    return {PARENT: str(os.getpid())}


def _request(number: int, frame: FrameType | None) -> None:
    if not _REQUESTED.is_set() and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # SIGALRM then ends the process
    _REQUESTED.set()
