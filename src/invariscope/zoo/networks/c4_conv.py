"""A convolutional network that is equivariant to quarter turns by construction, in all or in some layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invariscope.zoo.networks.base import chosen_width, network, odd_kernel, refuse_small

TURNS = 4
LAYERS = 3


class TurnedConv(nn.Module):
    """A convolution from an image, or from fields, to fields of the regular representation of C4.

    Channel 4 i + g of the output is the response of filter i after g quarter turns. If the input consists of
    such fields too, the four slices of the filter are permuted as they are turned.

    Args:
        inputs: number of channels of an image, or of fields with four channels each.
        outputs: number of fields of the output.
        kernel_size: odd; maps keep their size.
        lifting: whether the input is an image.
    """

    order: ClassVar[int] = TURNS
    """Number of elements of the group."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, lifting: bool) -> None:
        super().__init__()
        self.slices = 1 if lifting else self.order
        shape = (outputs, inputs, self.slices, kernel_size, kernel_size)
        bound = (inputs * self.slices * kernel_size**2) ** -0.5
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-1, 1) * 6**0.5 * bound)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map images or fields to fields of shape (sample, 4 * fields, H, W)."""
        size = self.weight.shape[-1]
        moved = torch.stack([self.moved(element) for element in range(self.order)], dim=1)
        filters = moved.flatten(0, 1).flatten(1, 2)
        return F.conv2d(x, filters, self.bias.repeat_interleave(self.order), padding=size // 2)

    def moved(self, element: int) -> Tensor:
        """Return the filters after a group element has moved their pixels and permuted their slices."""
        return self.weight.roll(element % self.slices, 2).rot90(element, (3, 4))


class FieldPool(nn.Module):
    """Average the maxima of the channels of a field, which makes the result invariant to the group.

    Means over a mostly empty image differ so little between digits that training with them hardly starts.

    Args:
        order: number of channels of a field.
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Return one number per field, (sample, fields)."""
        return x.amax((2, 3)).unflatten(1, (-1, self.order)).mean(2)

    def extra_repr(self) -> str:
        """Return the number of channels of a field, for the module's representation."""
        return f"order={self.order}"


class C4Conv(nn.Sequential):
    """Group convolutions over C4.

        conv1 relu1                    (4 · fields, 28, 28): a field is four channels, one per orientation
        pool1                          (4 · fields, 14, 14)
        conv2 relu2                    (4 · fields, 14, 14)
        conv3 relu3                    (16 · fields, 14, 14)
        pool                           (4 · fields,)
        fc log_softmax                 (classes,)

    A quarter turn of a square image turns the maps and moves channel 4 i + g to 4 i + g + 1 (mod 4 within a
    field): the regular representation. This is exact if the side is even, so that the grid stays centred
    after pool1. All layers from pool on are invariant. Because pool leaves only one number per field, conv3
    has more fields.

    A hybrid network has ordinary convolutions of the same widths after one or two group convolutions. Its
    maps are equivariant only up to the last group convolution, and no layer is invariant.

    Source:
        Cohen and Welling 2016, Group equivariant convolutional networks, arXiv:1602.07576.
    """


@network
def c4_conv(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    fields: int = 8,
    kernel_size: int = 5,
    equivariant: int = LAYERS,
) -> nn.Module:
    """Three group convolutions over quarter turns: 8, 8 and 32 fields of four orientations each.

    A control: the network is equivariant under the regular representation, but not under an action that only
    moves positions.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        fields: number of fields, of four channels each, in the first two layers; the third has four times
            as many.
        kernel_size: size of the filters, odd.
        equivariant: how many of the first convolutions are group convolutions. 3: the whole
            network is equivariant; 1 or 2: a hybrid; 0: an ordinary network of the same widths.
    Raises:
        ValueError: `equivariant` is not an integer from 0 to 3.

    Source:
        Cohen and Welling 2016, arXiv:1602.07576.

    >>> from invariscope.zoo.networks import build
    >>> _ = torch.manual_seed(0)
    >>> model, x = build("c4_conv").double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    >>> torch.allclose(model(x), model(x.rot90(dims=(2, 3))))
    True
    """
    if isinstance(equivariant, bool) or equivariant not in range(LAYERS + 1):
        raise ValueError(
            f"equivariant must be the number of group convolutions, from 0 to {LAYERS}; got {equivariant!r}."
        )
    refuse_small("c4_conv", input_shape, 2)
    kinds = [TurnedConv if number < equivariant else _ordinary for number in range(LAYERS)]
    fields = chosen_width("fields", fields, input_shape, 8, 8)
    layers = group_layers(
        kinds, input_shape[0], classes, (fields, fields, 4 * fields), odd_kernel(kernel_size)
    )
    return C4Conv(layers)


def group_layers(
    kinds: Sequence[Callable[..., nn.Module]],
    channels: int,
    classes: int,
    fields: Sequence[int],
    kernel_size: int,
    *,
    order: int = TURNS,
) -> OrderedDict[str, nn.Module]:
    """Return the layers of a network of group convolutions, by name.

    Args:
        kinds: for each convolution, `TurnedConv` or a function with its arguments.
        channels, classes: number of channels of an image, and number of classes.
        fields: number of fields after each convolution.
        kernel_size: size of the filters, odd.
        order: number of elements of the group, and of channels per field.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    entries = [channels, *fields]
    for number, (kind, inputs, outputs) in enumerate(zip(kinds, entries, fields, strict=False), start=1):
        layers[f"conv{number}"] = kind(inputs, outputs, kernel_size, lifting=number == 1)
        layers[f"relu{number}"] = nn.ReLU()
        if number == 1:
            layers["pool1"] = nn.AvgPool2d(2)
    head = {"pool": FieldPool(order), "fc": nn.Linear(fields[-1], classes)}
    return OrderedDict(layers | head | {"log_softmax": nn.LogSoftmax(dim=1)})


def _ordinary(inputs: int, outputs: int, kernel_size: int, *, lifting: bool) -> nn.Conv2d:
    """Build a convolution with as many channels as a `TurnedConv`, and weights of the same variance."""
    entry = inputs if lifting else TURNS * inputs
    convolution = nn.Conv2d(entry, TURNS * outputs, kernel_size, padding=kernel_size // 2)
    nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
