"""The modules and hooks of a model, compared before and after its first forward, which may add some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from invariscope.readers.torch.modules import is_scripted


@dataclass(frozen=True)
class Structure:
    """The modules of a model, each with its hooks and its forward.

    Args:
        modules: name, identity, hook ids and replaced forward of each module.
    """

    modules: tuple[Any, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Structure:
        """Return the present structure."""
        modules = tuple((name, id(module), _calls(module)) for name, module in model.named_modules())
        return cls(modules)


def _calls(module: nn.Module) -> tuple[Any, ...]:
    if is_scripted(module):
        return ()
    return tuple(module._forward_pre_hooks), tuple(module._forward_hooks), id(vars(module).get("forward"))
