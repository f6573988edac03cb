"""Lock files that the operating system releases when the process ends, even if it is killed."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE_S = 0.05
_HELD: set[int] = set()
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class InUseError(OSError):
    """Another process holds the lock; the message gives the process and the time."""


@contextlib.contextmanager
def locked(path: Path, what: str, *, patience_s: float = 0.0) -> Iterator[bool]:
    """Hold an exclusive lock and yield True, or yield False if the system cannot lock files (Windows).

    The lock file is removed at the end. A file that a killed process left is no longer locked, and is reused.

    Args:
        path: the lock file, in an existing folder.
        what: what the lock protects, for the message.
        patience_s: seconds to wait for another process to release the lock.
    Raises:
        InUseError: another process holds the lock.
        OSError: the file cannot be created.
    """
    descriptor = _acquired(path, what, time.monotonic() + patience_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor in _HELD:  # not in a forked child, which does not hold the lock
            _HELD.discard(descriptor)
            try:
                with contextlib.suppress(OSError):  # the folder has become read-only, or was removed
                    path.unlink()
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool | None]:
    """Mark an existing folder as in use by this process until the block or the process ends.

    Yields True; False if another process uses the folder or has removed it; None if locks are unsupported.
    """
    descriptor, state = _hold(folder)
    try:
        yield state
    finally:
        if descriptor in _HELD:
            _HELD.discard(descriptor)
            os.close(descriptor)


def _hold(folder: Path) -> tuple[int | None, bool | None]:
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None, False
    except (ImportError, OSError):
        return None, None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None, False if isinstance(error, BlockingIOError) else None
    _HELD.add(descriptor)
    return descriptor, _is_file(descriptor, folder)


def _acquired(path: Path, what: str, deadline: float) -> int | None:
    """Return the descriptor of the locked file; None if the system or the disk does not support locks."""
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(descriptor, path):
                _sign(descriptor, path)
                _HELD.add(descriptor)
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                text = f"{what} is in use by another process ({_holder(descriptor)})"
                raise InUseError(text) from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            path.unlink(missing_ok=True)
            return None
        finally:
            if descriptor not in _HELD:
                os.close(descriptor)


def _is_file(descriptor: int, path: Path) -> bool:
    """Return whether the locked file is still at the path: its previous holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int, path: Path) -> None:
    """Write the process and the time to the lock file; if the disk is full, remove the file."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, since {now}".encode(), 0)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _holder(descriptor: int) -> str:
    """Return the process that holds the lock and the time, as written in the file."""
    try:
        text = os.pread(descriptor, 100, 0).decode()
    except (OSError, UnicodeDecodeError):
        text = ""
    return text or "which has just started"


def _forget() -> None:
    """Close the parent's locks in a forked child, which would otherwise keep them when the parent ends."""
    for descriptor in _HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
