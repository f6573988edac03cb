"""Disable `torch.compile` inside a model while it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from invariscope.readers.threads import SharedSetting

_EAGER = SharedSetting(lambda: torch.compiler.set_stance("force_eager"))


@contextmanager
def without_compilation() -> Iterator[None]:
    """Run functions wrapped by `torch.compile` uncompiled.

    Otherwise the compiler would trace the hooks and the reduction of what they read. If the compiler has not
    been loaded, this does nothing, since loading it takes seconds.
    """
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with _EAGER.active():
        yield


def holds_compiled(model: nn.Module) -> bool:
    """Return whether any module of the model is compiled or has a compiled function."""
    return any(_is_compiled(module) for module in model.modules())


def _is_compiled(module: nn.Module) -> bool:
    own = vars(module)
    if isinstance(getattr(module, "_orig_mod", None), nn.Module) or own.get("_compiled_call_impl"):
        return True
    held = (*own.values(), *vars(type(module)).values())
    return any("_torchdynamo_orig_callable" in getattr(value, "__dict__", ()) for value in held)
