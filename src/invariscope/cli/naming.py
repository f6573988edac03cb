"""The model that a command is about, for the data it is given."""

from __future__ import annotations

from typing import Any

from invariscope.cli.console import notice
from invariscope.cli.models import Named, Request, load_model


def named_model(name: str, weights: str | None, inputs: Any, seed: int) -> Named:
    """The model for these inputs; a notice where its weights were drawn just now."""
    classes = getattr(inputs, "classes", None)
    request = Request(
        weights, shape=getattr(inputs, "shape", None), classes=classes and len(classes), seed=seed
    )
    named = load_model(name, request)
    if named.fresh and weights is None:
        notice(f"{name} has random weights (seed {seed}): train it first, or give --weights FILE")
    return named
