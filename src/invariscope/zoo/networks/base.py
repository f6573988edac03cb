"""The registry of networks, and a function to build one by name with seeded weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from invariscope.common.available import available_memory
from invariscope.common.checks import integer
from invariscope.common.registry import Registry, unknown

# Functions, not classes: one architecture can have several published sizes.
NETWORKS: Registry[Any] = Registry("network", "invariscope.zoo.networks", listing="models")

_ADVICE = "give smaller widths, or smaller images"

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])


def network(factory: Factory) -> Factory:
    """Register a function `(input_shape, classes, *, options) -> Module` under its own name."""
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
    """Build a network that returns log-probabilities (sample, class), with initial weights drawn from `seed`.

    The global generator is restored.

    Args:
        name: name of a network, such as "simple_conv".
        input_shape: (C, H, W).
        classes: number of classes.
        seed: seed of the initial weights.
        options: keyword options of that network.
    Raises:
        ValueError: unknown network or option, or an invalid input shape.
    """
    factory = NETWORKS.get(name)
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"input_shape must be (C, H, W), three positive integers; got {shape}.")
    integer("classes", classes, least=2)
    known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    with torch.random.fork_rng(devices=[]):
        _refuse_huge(name, lambda: factory(shape, classes, **options))
        torch.default_generator.manual_seed(seed)
        return factory(shape, classes, **options)


def _refuse_huge(name: str, make: Callable[[], nn.Module]) -> None:
    """Raise ValueError if the weights do not fit in memory, without allocating them."""
    try:
        with torch.device("meta"):
            tensors = [*(model := make()).parameters(), *model.buffers()]
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors if not is_lazy(tensor))
    except (RuntimeError, TypeError, OverflowError) as error:
        if "overflow" not in str(error).lower():
            return  # a network that cannot be built without memory
        raise ValueError(
            f"{name} with these options has more weights than fit in memory: {_ADVICE}"
        ) from None
    if needed > (free := available_memory()):
        raise ValueError(
            f"the weights of {name} with these options need {needed / 2**30:,.1f} GiB, but "
            f"{free / 2**30:,.1f} GiB of memory are available: {_ADVICE}"
        )


class Scaled(nn.Module):
    """Multiply by a fixed number, so that small initial logits keep the first steps small."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape."""
        return self.factor * x

    def extra_repr(self) -> str:
        """Return the factor, for the module's representation."""
        return f"{self.factor:g}"


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def chosen_width(what: str, width: int | None, input_shape: tuple[int, ...], grey: int, colour: int) -> int:
    """Return the given width after checking it, or the published one for grey or colour images."""
    if width is None:
        return grey if input_shape[0] == 1 else colour
    return integer(what, width, least=1)


def odd_kernel(size: int) -> int:
    """Return a kernel size after checking that it is odd, so that padding can keep the image's size."""
    if integer("kernel_size", size) % 2 == 0:
        raise ValueError(f"kernel_size must be odd, such as 3, 5 or 9; got {size!r}.")
    return size


def refuse_small(name: str, input_shape: tuple[int, ...], smallest: int) -> None:
    """Raise ValueError for images that are too small for the pooling."""
    if min(input_shape[1:]) < smallest:
        raise ValueError(
            f"{name} needs images of at least {smallest} x {smallest} pixels, got {input_shape[1:]}."
        )
