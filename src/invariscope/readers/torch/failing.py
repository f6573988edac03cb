"""An error that leaves a model's forward, with the module where it arose."""

from __future__ import annotations

from traceback import walk_tb
from typing import Any

from torch import nn

from invariscope.readers.base import FailedForward
from invariscope.readers.torch.modules import module_kind


def failure(
    error: Exception, x: Any, model: nn.Module, *, copied_for: str = "", tried: bool = False
) -> FailedForward:
    """The error for a batch on which the model failed.

    Args:
        error: what left its forward.
        x: the batch.
        model: what ran.
        copied_for: the argument for which the model is a copy, if it is one.
        tried: it took a few inputs before.
    """
    where = f"the model{_place(error, model)}"
    return FailedForward.during(x, where, error, copied_for=copied_for, tried=tried)


def _place(error: Exception, model: nn.Module) -> str:
    """In which module an error arose: the innermost whose own code it left."""
    names = {id(module): name or module_kind(model) for name, module in model.named_modules()}
    frames = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    inside = [frame for frame in frames if isinstance(frame, nn.Module) and id(frame) in names]
    return f", in {names[id(inside[-1])]!r} ({module_kind(inside[-1])})," if inside else ""
