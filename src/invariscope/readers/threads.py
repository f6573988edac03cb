"""Measure a model in one thread at a time, ignoring forward passes of other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

_CHANGES = threading.Condition()
_OWNERS: dict[
    int, tuple[int, int]
] = {}  # by id of a module: the thread that measures it, and the nesting depth


@contextmanager
def exclusive(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread measures a module of this model, then prevent other threads from doing so.

    All modules are locked together, so that measuring a model also excludes measuring a part of it. The lock
    is reentrant.
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
    """Return all modules; unlike `modules()`, this is safe while another thread adds or removes some."""
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
    """Return a hook that ignores calls from other threads, which run their own forward passes.

    Args:
        hook: called in this thread.
        elsewhere: called instead in other threads.
    """
    owner = threading.get_ident()

    def guarded(*args: Any) -> Any:
        return hook(*args) if threading.get_ident() == owner else elsewhere()

    return guarded


class SharedSetting:
    """A process-wide setting that overlapping measurements change and the last one restores.

    Args:
        changed: returns a context in which the setting is changed.
    """

    def __init__(self, changed: Callable[[], AbstractContextManager[Any]]) -> None:
        self._changed, self._lock, self._stack, self._users = changed, threading.Lock(), ExitStack(), 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Change the setting inside the context."""
        with self._lock:
            if self._users == 0:
                self._stack.enter_context(self._changed())
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._stack.close()


@contextmanager
def _fast_path_off() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


# torch's attention fast path runs inner layers without their hooks.
WITHOUT_FAST_PATH = SharedSetting(_fast_path_off)
