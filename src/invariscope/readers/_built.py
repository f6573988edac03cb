"""Layers that a model's first forward builds: until then it has no weights that could be measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

_TENSOR = "tensor"


def parts_of(model: nn.Module) -> dict[str, str]:
    """Kinds of all modules and tensors by name, those in plain attributes too; "" for one without weights."""
    return dict(_parts(model))


def _parts(model: nn.Module) -> Iterator[tuple[str, str]]:
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        yield path, type(module).__name__ if _weighs(module) else ""
        yield from ((prefix + name, "Parameter") for name, _ in module.named_parameters(recurse=False))
        yield from ((prefix + name, _TENSOR) for name, _ in module.named_buffers(recurse=False))
        for name, value in vars(module).items():
            if not name.startswith("_") and (kind := _kind(value)):
                yield prefix + name, kind


def _kind(value: Any) -> str:
    """What an attribute holds; empty for neither modules nor tensors."""
    entries = list(value.values()) if isinstance(value, dict) else value
    for entry in entries if isinstance(entries, list | tuple) else [entries]:
        if isinstance(entry, nn.Parameter) or (isinstance(entry, nn.Module) and _weighs(entry)):
            return type(entry).__name__
        if isinstance(entry, Tensor):
            return _TENSOR
    return ""


def _weighs(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def refuse_built(before: dict[str, str], after: dict[str, str], *, drew: bool) -> None:
    """Raise ValueError if forwards have built modules or weights.

    Args:
        before, after: the parts of the model.
        drew: whether the first forward drew random numbers and a later one did not. If so, a new tensor holds
            weights; otherwise it is a cache.
    """
    new = {name: kind for name, kind in after.items() if name not in before}
    built = [f"{name!r} ({kind})" for name, kind in new.items() if kind and (drew or kind != _TENSOR)]
    if built:
        more = f" and {len(built) - 3} more" if len(built) > 3 else ""
        raise ValueError(
            f"the first forward builds {', '.join(built[:3])}{more}: run the model once on a batch, then "
            "measure it"
        )
