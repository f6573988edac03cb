"""Recognise classes and functions that return a model, but were passed instead of the model."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

from torch import nn

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def no_model(maker: Any) -> TypeError:
    """Return the error for a class or function that was passed instead of the model it returns."""
    kind = "class" if isinstance(maker, type) else "function"
    name = getattr(maker, "__name__", "") or type(maker).__name__
    parameters = _parameters(maker)
    needed = any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    call = f"{name}({'...' if needed else ''})"
    return TypeError(
        f"got the {kind} {name}, not a model: did you mean {call}? A function to be measured takes only "
        "the inputs and returns {layer: array}."
    )


def makes_models(function: Any, *, of_batches: bool = False) -> bool:
    """Return whether a function is annotated to return a module, or cannot be called with inputs alone.

    Args:
        function: what was passed as a model.
        of_batches: whether it is called with a batch, whose fields may be several arguments.
    """
    if not inspect.isroutine(function):
        return False
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        returned = None  # annotations that only a type checker can resolve
    if isinstance(returned, type) and issubclass(returned, nn.Module):
        return True
    parameters = _parameters(function)
    if of_batches:
        return not parameters
    needed = [p for p in parameters if p.default is p.empty and p.kind in _POSITIONAL]
    keywords = [p for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    takes_inputs = any(p.kind in (*_POSITIONAL, p.VAR_POSITIONAL) for p in parameters)
    return not takes_inputs or len(needed) > 1 or bool(keywords)


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        return [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
