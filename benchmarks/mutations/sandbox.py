"""Read a file in a forked process with a limit of memory and time, and tell how that ended."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GIB = 1 << 30
SECONDS = 5.0
_PATIENCE = 4  # other processes may take most of the time
SAME, OTHER, REFUSED = "same numbers", "ANOTHER NUMBER", "refused"
FOREIGN, SLOW, DIED = "FOREIGN ERROR", "TOO SLOW", "DIED"
OUTCOMES = (REFUSED, SAME, OTHER, FOREIGN, SLOW, DIED)

_OURS = (f"{os.sep}invariscope{os.sep}",)
_KINDS = (ValueError, TypeError, OSError)


@dataclass(frozen=True)
class Reading:
    """How a reading ended.

    Args:
        outcome: one of `OUTCOMES`; "same numbers" until compared with those of the original file.
        text: digest of the numbers, or the error.
        seconds, bytes: time, and memory above that at the start.
    """

    outcome: str
    text: str
    seconds: float
    bytes: int


def read(work: Callable[[], Any], *, seconds: float = SECONDS, memory: int = GIB) -> Reading:
    """Call `work` in a forked process; the numbers that it returns are compared by their digest.

    Args:
        work: reads files, and returns the numbers in them.
        seconds: limit of CPU seconds, and a quarter of that of elapsed seconds.
        memory: limit of address space above that at the start.
    """
    there, here = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(there)
        _child(work, here, memory)
    os.close(here)
    try:
        ready, _, _ = select.select([there], [], [], _PATIENCE * seconds)
        text = _all(there) if ready else ""
    finally:
        os.close(there)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    spent = used.ru_utime + used.ru_stime
    if not ready or spent > seconds:
        return Reading(SLOW, f"more than {seconds:g} s", spent, 0)
    if not text:
        return Reading(DIED, f"wait status {status}", spent, 0)
    outcome, text, size = json.loads(text)
    return Reading(outcome, text, spent, size)


def _child(work: Callable[[], Any], pipe: int, memory: int) -> None:
    start = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (start + memory, resource.RLIM_INFINITY))
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    resident = _resident()
    try:
        found = SAME, digest(work())
    except BaseException as error:
        found = (REFUSED if is_ours(error) else FOREIGN), _described(error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with os.fdopen(pipe, "wb") as stream:
        stream.write(json.dumps([*found, max(0, _resident() - resident)]).encode())
    os._exit(0)


def is_ours(error: BaseException) -> bool:
    """Return whether an error is one line that code of this package raised on purpose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = bool(frames) and any(part in frames[-1].filename for part in _OURS)
    return own and isinstance(error, _KINDS) and bool(str(error)) and "\n" not in str(error).strip()


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error)[:300]}{where}"


def _all(pipe: int) -> str:
    parts = []
    while part := os.read(pipe, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _resident() -> int:
    """Return the peak of resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def digest(value: Any) -> str:
    """Return the SHA-256 of numbers in nested containers."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()


def _add(found: Any, value: Any) -> None:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, Mapping):
        for name in sorted(value, key=str):
            found.update(str(name).encode() + b"=")
            _add(found, value[name])
    elif isinstance(value, list | tuple):
        found.update(b"[")
        for one in value:
            _add(found, one)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        found.update(f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes())
    else:
        found.update(repr(value).encode() + b";")
