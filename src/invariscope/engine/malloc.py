"""Keeping the memory of one layer's activations for the next one's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_LARGEST = 32 << 20  # the most that the C library allows a block to be without a mapping of its own
_KEPT, _USUAL = 256 << 20, 2 * _LARGEST


@contextmanager
def kept_memory() -> Iterator[None]:
    """Freed blocks stay with the process while this lasts; no effect without the GNU C library.

    Without it, every layer's output of a few MiB goes back to the system when the next layer has read
    it, and is mapped and cleared again for the next one: a third of the time of a forward at 128
    inputs. Afterwards the thresholds are those that the C library moves to by itself once a program
    has freed a block of 32 MiB.
    """
    adjust = _mallopt()
    adjust(_MMAP_THRESHOLD, _LARGEST)
    adjust(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        adjust(_TRIM_THRESHOLD, _USUAL)


def _mallopt() -> Callable[[int, int], int]:
    library = ctypes.CDLL(None)
    known = hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")
    return library.mallopt if known else lambda name, value: 0
