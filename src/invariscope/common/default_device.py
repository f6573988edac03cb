"""Keep the caller's default device (`torch.set_default_device`) out of the library's own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_CALLERS: ContextVar[torch.device | None] = ContextVar("_CALLERS", default=None)


@contextmanager
def without_default_device() -> Iterator[None]:
    """Make the CPU the default device inside the context, since generators and indices are on the CPU.

    Also works as a decorator, `@without_default_device()`. Run the caller's functions inside `as_the_caller`.

    >>> with torch.device("meta"), without_default_device():
    ...     ours = torch.zeros(1)
    ...     with as_the_caller():
    ...         print(ours.device, torch.zeros(1).device)
    cpu meta
    """
    device = torch.get_default_device()
    if device.type == "cpu":  # a context would slow down every operation
        yield
        return
    token = _CALLERS.set(device)
    try:
        with torch.device("cpu"):
            yield
    finally:
        _CALLERS.reset(token)


@contextmanager
def as_the_caller() -> Iterator[None]:
    """Restore the caller's default device inside the context."""
    device = _CALLERS.get()
    if device is None:
        yield
        return
    with torch.device(device):
        yield
