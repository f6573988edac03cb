"""The parameters to train: all, those of the last linear layer, or a selection by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from invariscope.common.globs import matches
from invariscope.common.registry import closest

HEAD = "head"


def trainable_names(model: nn.Module, trainable: str | None) -> frozenset[str]:
    """Return the names of the parameters to train.

    Args:
        model: any module.
        trainable: "head": weight and bias of the linear layer that was defined last; a glob on the names of
            parameters; None: all.
    Raises:
        ValueError: a model without linear layers, or a glob that matches nothing.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    >>> sorted(trainable_names(model, "head")), sorted(trainable_names(model, "*.weight"))
    (['2.bias', '2.weight'], ['0.weight', '2.weight'])
    """
    names = [name for name, _ in model.named_parameters()]
    if trainable is None:
        return frozenset(names)
    if trainable == HEAD:
        return _head_names(model)
    found = frozenset(name for name in names if matches(trainable, name))
    if not found:
        near = closest(trainable, names) or names[:3]
        raise ValueError(
            f"trainable={trainable!r} matches none of the {len(names)} parameters of "
            f'{type(model).__name__}. Closest: {", ".join(map(repr, near)) or "none"}; or "head".'
        )
    return found


def _head_names(model: nn.Module) -> frozenset[str]:
    head = last_linear(
        model, 'trainable="head" means the last linear layer', instead="name its parameters by a glob"
    )
    own = model.get_submodule(head).named_parameters(recurse=False)
    # If the layer is the model itself, its name is empty.
    return frozenset(f"{head}.{name}".removeprefix(".") for name, _ in own)


def last_linear(model: nn.Module, why: str, *, instead: str) -> str:
    """Return the name of the linear layer that was defined last.

    Args:
        model: any module.
        why: why the layer is needed, for the message.
        instead: what to do if there is none, for the message.
    Raises:
        ValueError: the model has no linear layer.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{why}, and {type(model).__name__} has none: {instead}.")
    return linear[-1]


@contextmanager
def only_these(model: nn.Module, names: frozenset[str]) -> Iterator[None]:
    """Disable the gradients of all other parameters within the block."""
    others = [p for name, p in model.named_parameters() if name not in names and p.requires_grad]
    try:
        for parameter in others:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
