"""The tree of modules: which of them are layers, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Role = Literal["leaf", "container", "inner", "scripted"]


class Whole:
    """Marks a module that computes with its children's weights without calling them."""


_WHOLE = (Whole, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True, eq=False)
class Site:
    """A module that may be read.

    Args:
        name: its dotted name; the model itself goes by the name of its class.
        role: "leaf"; "container" (has children, is read when named); "inner" (inside a leaf such as
            attention); "scripted" (its children run out of Python's sight).
        prefix: what stands before the functional operations in its forward.
    """

    name: str
    module: nn.Module
    role: Role
    prefix: str

    @property
    def default(self) -> bool:
        """Read where the user selects nothing."""
        return self.role in ("leaf", "scripted")

    @property
    def kind(self) -> str:
        """The class, as the user knows it."""
        return module_kind(self.module)


def module_kind(module: nn.Module) -> str:
    """The class of a module; of a scripted one the class that was scripted."""
    return str(module.original_name if is_scripted(module) else type(module).__name__)


def is_scripted(module: nn.Module) -> bool:
    """Whether a module was traced or scripted."""
    return isinstance(module, torch.jit.ScriptModule)


def survey(model: nn.Module) -> list[Site]:
    """Every module that a forward may call, in the order of registration; a shared one once."""
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
    # A parametrization computes a weight whenever the weight is asked for: part of the module, no layer.
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
    """Whether a module has a forward of its own; lists and dictionaries of modules have none."""
    return "forward" in vars(module) or type(module).forward is not nn.Module.forward


def never_ran(sites: Iterable[Site], ran: set[str]) -> tuple[str, ...]:
    """Modules without children that could have run and did not."""
    return tuple(
        site.name
        for site in sites
        if site.name not in ran
        and runs(site.module)
        and (site.default or (site.role == "inner" and not _children(site.module)))
    )
