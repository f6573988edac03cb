"""Make SIGINT, SIGTERM and SIGHUP end the process cleanly, but never in the middle of an import."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_RETRY_S = 0.05
_postponed: set[int] = set()


def end_on_signals() -> None:
    """Turn SIGTERM and SIGHUP (a closed terminal) into exceptions, as Python does with SIGINT.

    Commands can then remove their scratch folders and end their child processes. If SIGHUP is ignored, as
    under `nohup`, it remains ignored. During an import, all three signals are delayed until it ends, because
    some libraries catch every exception there; a second signal then ends the process at once.
    """
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _outside_imports(_terminate))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _outside_imports(signal.default_int_handler))


def _outside_imports(
    end: Callable[[int, FrameType | None], object],
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if not _is_importing(frame or sys._getframe()):
            end(number, frame)
        elif number in _postponed:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            _postponed.add(number)
            timer = threading.Timer(_RETRY_S, _retry, [number])
            timer.daemon = True
            timer.start()

    return handle


def _retry(number: int) -> None:
    _postponed.discard(number)
    _thread.interrupt_main(signal.Signals(number))


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
