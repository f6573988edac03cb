"""Find the modules of a model, and decide which of them are layers and how they are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import getattr_static
from typing import Any, Literal

import torch
from torch import nn

Role = Literal["leaf", "container", "inner", "scripted"]


class Whole:
    """Marker for modules that compute with their children's weights without calling the children."""


# Modules that compute with their children's weights without calling the children.
_WHOLE = (Whole, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True, eq=False)
class Site:
    """A module that may be read.

    Args:
        name: dotted name of the module; for the model itself, the name of its class.
        role: "leaf"; "container" (has children, read if named); "inner" (inside a leaf such as attention);
            "scripted" (its children do not run in Python).
        prefix: prefix of the names of functional operations in its `forward` method.
    """

    name: str
    module: nn.Module
    role: Role
    prefix: str

    @property
    def default(self) -> bool:
        """Whether it is read if the user selects nothing."""
        return self.role in ("leaf", "scripted")

    @property
    def kind(self) -> str:
        """Name of the module's class."""
        return module_kind(self.module)


def module_kind(module: nn.Module) -> str:
    """Return the class name of a module; for a scripted module, the name of the original class."""
    return str(module.original_name if is_scripted(module) else type(module).__name__)


def is_scripted(module: nn.Module) -> bool:
    """Return whether a module was traced or scripted."""
    return isinstance(module, torch.jit.ScriptModule)


def survey(model: nn.Module) -> list[Site]:
    """Return every module that a forward pass may call, in the order of registration; shared modules once."""
    root = module_kind(model)
    if root in dict(model.named_modules()):
        root += "()"
    return list(_walk(model, "", root, inside=False, seen=set()))


def _walk(module: nn.Module, path: str, name: str, *, inside: bool, seen: set[int]) -> Iterator[Site]:
    if id(module) in seen:
        return
    seen.add(id(module))
    children = [] if is_scripted(module) else _children(module)
    role = _role(module, children, root=not path, inside=inside)
    yield Site(name, module, role, f"{path}/" if path else "")
    for child_name, child in children:
        dotted = f"{path}.{child_name}" if path else child_name
        yield from _walk(child, dotted, dotted, inside=inside or role == "leaf", seen=seen)


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    # A parametrization computes a weight on every access: it is part of the module, not a layer.
    return [(name, child) for name, child in module.named_children() if name != "parametrizations"]


def _role(module: nn.Module, children: list[Any], *, root: bool, inside: bool) -> Role:
    if is_scripted(module):
        return "scripted"
    if inside:
        return "inner"
    if isinstance(module, _WHOLE):
        return "leaf"
    if children or not runs(module):
        return "container"
    ours = root and not type(module).__module__.startswith("torch.nn")
    return "container" if ours else "leaf"


def runs(module: nn.Module) -> bool:
    """Return whether a module has its own `forward`; lists and dictionaries of modules have none."""
    return "forward" in vars(module) or getattr_static(type(module), "forward") is not nn.Module.forward


def never_ran(sites: Iterable[Site], ran: set[str]) -> tuple[str, ...]:
    """Return the names of modules without children that could have run but did not."""
    return tuple(
        site.name
        for site in sites
        if site.name not in ran
        and runs(site.module)
        and (site.default or (site.role == "inner" and not _children(site.module)))
    )
