"""The register of networks, and building one by its name with seeded weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from invariscope.common.checks import integer
from invariscope.common.registry import Registry, unknown

# Functions, not classes, lie here: one architecture can come in several published sizes.
NETWORKS: Registry[Any] = Registry("network", "invariscope.zoo.networks", listing="models")

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])


def network(factory: Factory) -> Factory:
    """Lists a function `(input_shape, classes, *, options) -> Module` under its own name."""
    NETWORKS.add(cast(Any, factory))
    return factory


def build(
    name: str,
    *,
    input_shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """A network with initial weights drawn from `seed`; it returns log-probabilities (sample, class).

    The global generator is left as it was.

    Args:
        name: of a function in this package, such as "simple_conv".
        input_shape: (C, H, W).
        classes: how many.
        seed: of the initial weights.
        options: keyword options of that function.
    Raises:
        ValueError: no such network or option, or a shape that no image has.
    """
    factory = NETWORKS.get(name)
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"input_shape is (C, H, W), three positive whole numbers; got {shape}.")
    integer("classes", classes, least=2)
    known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return factory(shape, classes, **options)


class Scaled(nn.Module):
    """Multiply by a fixed number: logits that are small at first make the first steps gentle."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape."""
        return self.factor * x

    def extra_repr(self) -> str:
        """Return the factor, for the module's text."""
        return f"{self.factor:g}"


def parameter_count(model: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(parameter.numel() for parameter in model.parameters())


def chosen_width(what: str, width: int | None, input_shape: tuple[int, ...], grey: int, colour: int) -> int:
    """A width that the user gave, checked, or the published one for images of one or more channels."""
    if width is None:
        return grey if input_shape[0] == 1 else colour
    return integer(what, width, least=1)


def odd_kernel(size: int) -> int:
    """Return a kernel size, checked: an odd one has a centre, so that padding keeps the image's size."""
    if integer("kernel_size", size) % 2 == 0:
        raise ValueError(f"kernel_size must be odd, such as 3, 5 or 9; got {size!r}.")
    return size


def refuse_small(name: str, input_shape: tuple[int, ...], smallest: int) -> None:
    """Raises a ValueError for images that would be pooled away."""
    if min(input_shape[1:]) < smallest:
        raise ValueError(
            f"{name} needs images of at least {smallest} x {smallest} pixels, got {input_shape[1:]}."
        )
