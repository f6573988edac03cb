"""Report errors of a model's forward pass with the module in which they occurred."""

from __future__ import annotations

from traceback import walk_tb
from typing import Any

from torch import nn

from invariscope.readers.base import FailedForward
from invariscope.readers.torch.modules import module_kind


def failure(
    error: Exception, x: Any, model: nn.Module, *, copied_for: str = "", tried: bool = False
) -> FailedForward:
    """Return the error for a batch on which the model failed.

    Args:
        error: the exception raised by the forward pass.
        x: the batch.
        model: the model.
        copied_for: the argument that made a copy of the model necessary; "" for the original.
        tried: whether the model had accepted the trial inputs.
    """
    where = f"the model{_place(error, model)}"
    return FailedForward.during(x, where, error, copied_for=copied_for, tried=tried)


def _place(error: Exception, model: nn.Module) -> str:
    """Return the innermost module whose own code raised an error, as text."""
    names = {id(module): name or module_kind(model) for name, module in model.named_modules()}
    frames = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    inside = [frame for frame in frames if isinstance(frame, nn.Module) and id(frame) in names]
    return f", in {names[id(inside[-1])]!r} ({module_kind(inside[-1])})," if inside else ""
