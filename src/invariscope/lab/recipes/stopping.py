"""How the process of a cell ends early: on SIGTERM, and with the process that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_S = 5.0
PATIENCE_S = 2 * GRACE_S  # as long as a process that is told to end may still hold a cell
PARENT = "INVARISCOPE_PARENT"
_PR_SET_PDEATHSIG = 1
_REQUESTED = threading.Event()


@contextlib.contextmanager
def stopping_gently() -> Iterator[None]:
    """Inside, SIGTERM lets a training save its place first; what takes longer is ended after a few seconds.

    For the main thread of a process of its own that runs one cell.
    """
    _REQUESTED.clear()
    before = signal.signal(signal.SIGTERM, _request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def raise_if_requested() -> None:
    """Raise KeyboardInterrupt if SIGTERM came since; for places at which a training can be resumed."""
    if _REQUESTED.is_set():
        raise KeyboardInterrupt


def end_with_parent() -> None:
    """Get SIGTERM when the process ends that started this one by `parent_named`, however it ends.

    On systems other than Linux the cell runs to its end, and nobody else can run it meanwhile.
    """
    parent = int(os.environ.get(PARENT, "0"))
    if not parent or not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it ended before
        sys.exit(128 + signal.SIGTERM)


def parent_named() -> dict[str, str]:
    """The variable by which a process that is started now knows this one."""
    return {PARENT: str(os.getpid())}


def _request(number: int, frame: FrameType | None) -> None:
    if not _REQUESTED.is_set() and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # SIGALRM then ends the process
    _REQUESTED.set()
