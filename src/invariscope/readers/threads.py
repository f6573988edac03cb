"""Measurements beside other threads: one at a time per model, ignoring forwards of other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_CHANGES = threading.Condition()
_OWNERS: dict[int, tuple[int, int]] = {}  # by id of a module: the thread that measures it, how often nested


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread measures any module of this model, then keep other threads from doing so.

    All modules are locked at once, so that a model and a part of it exclude each other too. Reentrant.
    """
    modules, me = _modules_of(model), threading.get_ident()  # the list keeps the ids valid
    with _CHANGES:
        _CHANGES.wait_for(lambda: all(_OWNERS.get(id(m), (me, 0))[0] == me for m in modules))
        for module in modules:
            _OWNERS[id(module)] = me, _OWNERS.get(id(module), (me, 0))[1] + 1
    try:
        yield
    finally:
        with _CHANGES:
            for module in modules:
                depth = _OWNERS.pop(id(module))[1] - 1
                if depth:
                    _OWNERS[id(module)] = me, depth
            _CHANGES.notify_all()


def _modules_of(model: nn.Module) -> list[nn.Module]:
    """Every module below; unlike `modules()`, safe while another thread adds or removes some."""
    found: dict[int, nn.Module] = {}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if id(module) not in found:
            found[id(module)] = module
            waiting += [child for child in list(module._modules.values()) if child is not None]
    return list(found.values())


def in_this_thread(
    hook: Callable[..., Any], *, elsewhere: Callable[[], Any] = lambda: None
) -> Callable[..., Any]:
    """Return the hook so that it ignores calls from other threads, which run their own forwards.

    Args:
        hook: called in this thread.
        elsewhere: called instead in any other.
    """
    owner = threading.get_ident()

    def guarded(*args: Any) -> Any:
        return hook(*args) if threading.get_ident() == owner else elsewhere()

    return guarded


class _FastPath:
    """torch's setting for fused attention, which is global to the process."""

    def __init__(self) -> None:
        self.lock, self.users, self.before = threading.Lock(), 0, True

    def acquire(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before = torch.backends.mha.get_fastpath_enabled()
            self.users += 1
            torch.backends.mha.set_fastpath_enabled(False)

    def release(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                torch.backends.mha.set_fastpath_enabled(self.before)


_FAST_PATH = _FastPath()


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Disable torch's attention fast path, which runs inner layers without their hooks.

    It is restored when the last of several overlapping measurements ends.
    """
    _FAST_PATH.acquire()
    try:
        yield
    finally:
        _FAST_PATH.release()
