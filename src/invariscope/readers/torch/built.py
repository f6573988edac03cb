"""Compare a model before and after its first forward pass, which may create layers, weights or hooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from invariscope.common.wording import listed
from invariscope.readers.torch.modules import is_scripted

_TENSOR = "tensor"


def structure(model: nn.Module) -> tuple[Any, ...]:
    """Return the name, identity, hook ids and replaced `forward` of each module."""
    return tuple((name, id(module), _calls(module)) for name, module in model.named_modules())


def _calls(module: nn.Module) -> tuple[Any, ...]:
    if is_scripted(module):
        return ()
    return tuple(module._forward_pre_hooks), tuple(module._forward_hooks), id(vars(module).get("forward"))


def inventory(model: nn.Module) -> dict[str, str]:
    """Return {name: kind} of modules and tensors, including attributes; "" for modules without weights."""
    return dict(_parts(model))


def _parts(model: nn.Module) -> Iterator[tuple[str, str]]:
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        yield path, type(module).__name__ if _has_weights(module) else ""
        yield from ((prefix + name, "Parameter") for name, _ in module.named_parameters(recurse=False))
        yield from ((prefix + name, _TENSOR) for name, _ in module.named_buffers(recurse=False))
        for name, value in vars(module).items():
            if not name.startswith("_") and (kind := _kind(value)):
                yield prefix + name, kind


def _kind(value: Any) -> str:
    """Return the kind of module or tensor that an attribute holds; "" for anything else."""
    entries = list(value.values()) if isinstance(value, dict) else value
    for entry in entries if isinstance(entries, list | tuple) else [entries]:
        if isinstance(entry, nn.Parameter) or (isinstance(entry, nn.Module) and _has_weights(entry)):
            return type(entry).__name__
        if isinstance(entry, Tensor):
            return _TENSOR
    return ""


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def refuse_built(before: dict[str, str], after: dict[str, str], *, drew: bool) -> None:
    """Raise ValueError if forward passes have created modules or weights.

    Args:
        before, after: inventories of the model.
        drew: whether the first forward pass drew random numbers and a later one did not. If so, a new tensor
            counts as a weight, otherwise as a cache.
    """
    new = {name: kind for name, kind in after.items() if name not in before}
    built = [f"{name!r} ({kind})" for name, kind in new.items() if kind and (drew or kind != _TENSOR)]
    if built:
        raise ValueError(
            f"the first forward pass creates {listed(built, limit=3)}: run the model once on a batch before "
            "measuring it"
        )
