"""What an entry of the sweep is: a model with random weights, its inputs, and what moves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 12
Element = Callable[[Tensor], Tensor]


class Adapter(nn.Module):
    """A model that takes something other than one tensor, behind one tensor.

    Args:
        model: the model.
        call: (model, tensor) to its output.
    """

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, x: Tensor) -> Any:
        """Whatever the model returns."""
        return self.call(self.model, x)


@dataclass(frozen=True)
class Architecture:
    """One model of the sweep.

    Args:
        library: whose it is.
        name: what it is called there.
        build: makes it, with random weights.
        inputs: (generator) to (sample, ...) inputs.
        elements: the transform, the identity first. None of them computes, so none of them rounds.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Tensor]
    elements: tuple[Element, ...]

    def make(self) -> tuple[nn.Module, Tensor]:
        """The model in eval mode and its inputs: the same in every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build().eval()
        return model, self.inputs(torch.Generator().manual_seed(1))


def unmoved(x: Tensor) -> Tensor:
    """The identity."""
    return x


def quarter_turn(x: Tensor) -> Tensor:
    """Images, turned."""
    return x.rot90(1, (-2, -1))


def mirror(x: Tensor) -> Tensor:
    """The last axis, reversed."""
    return x.flip(-1)


def reordered(x: Tensor) -> Tensor:
    """Tokens, nodes or time steps, rotated by one place."""
    return x.roll(1, 1)


def replaced(x: Tensor) -> Tensor:
    """The third token, replaced by the second."""
    x = x.clone()
    x[:, 2] = x[:, 1]
    return x


IMAGE_ELEMENTS: tuple[Element, ...] = (unmoved, quarter_turn, mirror)
TOKEN_ELEMENTS: tuple[Element, ...] = (unmoved, reordered, replaced)
SERIES_ELEMENTS: tuple[Element, ...] = (unmoved, reordered)


def noise(*shape: int) -> Callable[[torch.Generator], Tensor]:
    """Standard normal inputs of one shape per sample."""
    return lambda generator: torch.randn(SAMPLES, *shape, generator=generator)


def tokens(length: int = 10, *, vocabulary: int = 64) -> Callable[[torch.Generator], Tensor]:
    """Random tokens; the smallest, which models keep for padding and the like, are left out."""
    return lambda generator: torch.randint(5, vocabulary, (SAMPLES, length), generator=generator)
