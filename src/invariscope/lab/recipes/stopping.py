"""Stop the process of a cell early: on a signal, or when the process that started it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

GRACE_S = 5.0
PATIENCE_S = 2 * GRACE_S  # how long a process may still hold a cell after SIGTERM
PARENT = "INVARISCOPE_PARENT"
_PR_SET_PDEATHSIG = 1
_REQUESTED = threading.Event()


@contextlib.contextmanager
def stopping_gently() -> Iterator[None]:
    """On SIGTERM or SIGHUP, let a training run save its checkpoint; the process ends within a few seconds.

    For use in the main thread of a process that runs one cell.
    """
    _REQUESTED.clear()
    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {
        number: signal.signal(number, _request)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_requested() -> None:
    """Raise KeyboardInterrupt if SIGTERM was received; call it where training can be resumed."""
    if _REQUESTED.is_set():
        raise KeyboardInterrupt


def end_with_parent() -> None:
    """Arrange for SIGTERM to be sent to this process when its parent, given by `parent_named`, ends.

    Linux sends it at once; elsewhere, a thread looks every second. On Windows, the cell keeps running to its
    end.
    """
    parent = int(os.environ.pop(PARENT, "0"))
    if not parent or os.name != "posix":
        return
    if sys.platform.startswith("linux"):
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent has already ended
        sys.exit(128 + signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def parent_named() -> dict[str, str]:
    """Return the environment variable by which a process started from here knows its parent."""
    return {PARENT: str(os.getpid())}


@contextlib.contextmanager
def ending(running: Mapping[str, Any]) -> Iterator[None]:
    """End all processes when the block ends; a second signal while they save their state kills them.

    Args:
        running: objects with a `process`; they may change within the block.
    """
    try:
        yield
    finally:
        try:
            for started in running.values():
                started.process.terminate()
            for started in running.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.process.wait(2 * GRACE_S)
        finally:
            for started in running.values():
                if started.process.poll() is None:
                    started.process.kill()
                    started.process.wait()


def _request(number: int, frame: FrameType | None) -> None:
    if not _REQUESTED.is_set() and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)  # SIGALRM then ends the process
    _REQUESTED.set()
