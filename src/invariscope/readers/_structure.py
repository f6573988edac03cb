"""What a model consists of: seen before and after its first forward, which may set up more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from invariscope.readers._modules import is_scripted


@dataclass(frozen=True)
class Structure:
    """The modules of a model, each with its hooks and its forward; its weights.

    Args:
        modules: of each module its name, identity, numbers of hooks, and a forward of its own.
        weights: names of the parameters.
    """

    modules: tuple[Any, ...]
    weights: frozenset[str] = field(compare=False)

    @classmethod
    def of(cls, model: nn.Module) -> Structure:
        """As it is now."""
        modules = tuple((name, id(module), _calls(module)) for name, module in model.named_modules())
        return cls(modules, frozenset(name for name, _ in model.named_parameters()))

    def refuse_new_weights(self, model: nn.Module) -> None:
        """Raise ValueError if the model has weights now that it did not have then."""
        for name, _ in model.named_parameters():
            if name not in self.weights:
                raise ValueError(
                    f"{name!r} does not exist before the first forward, which gives it random values: run "
                    "the model once on a batch, then measure it"
                )


def _calls(module: nn.Module) -> tuple[Any, ...]:
    if is_scripted(module):
        return ()
    return tuple(module._forward_pre_hooks), tuple(module._forward_hooks), id(vars(module).get("forward"))
