"""Define the entries of the sweep: a model with random weights, its inputs, and the transform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 12
Element = Callable[[Tensor], Tensor]


class Adapter(nn.Module):
    """Wrapper that lets a model with other inputs accept a single tensor.

    Args:
        model: the model.
        call: function of the model and the tensor that returns the output.
    """

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.model, x)


@dataclass(frozen=True)
class Architecture:
    """One model of the sweep.

    Args:
        library: the library of the model.
        name: the name of the model in that library.
        build: function that returns the model with random weights.
        inputs: function that draws (sample, ...) inputs from a generator.
        elements: the transform, which starts with the identity; all elements are exact.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Tensor]
    elements: tuple[Element, ...]

    def make(self) -> tuple[nn.Module, Tensor]:
        """Return the model in eval mode and its inputs, the same in every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build().eval()
        return model, self.inputs(torch.Generator().manual_seed(1))


def unmoved(x: Tensor) -> Tensor:
    """Return the input."""
    return x


def quarter_turn(x: Tensor) -> Tensor:
    """Rotate images by 90°."""
    return x.rot90(1, (-2, -1))


def mirror(x: Tensor) -> Tensor:
    """Reverse the last axis."""
    return x.flip(-1)


def reordered(x: Tensor) -> Tensor:
    """Shift tokens, nodes or time steps cyclically by one."""
    return x.roll(1, 1)


def replaced(x: Tensor) -> Tensor:
    """Replace the third token by the second."""
    x = x.clone()
    x[:, 2] = x[:, 1]
    return x


IMAGE_ELEMENTS: tuple[Element, ...] = (unmoved, quarter_turn, mirror)
TOKEN_ELEMENTS: tuple[Element, ...] = (unmoved, reordered, replaced)
SERIES_ELEMENTS: tuple[Element, ...] = (unmoved, reordered)


def noise(*shape: int) -> Callable[[torch.Generator], Tensor]:
    """Return a function that draws standard normal inputs of this shape per sample."""
    return lambda generator: torch.randn(SAMPLES, *shape, generator=generator)


def tokens(length: int = 10, *, vocabulary: int = 64) -> Callable[[torch.Generator], Tensor]:
    """Return a function that draws random tokens, except the lowest ones, which are often special."""
    return lambda generator: torch.randint(5, vocabulary, (SAMPLES, length), generator=generator)
