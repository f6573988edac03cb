"""A convolutional network that is equivariant to quarter turns and mirror images by construction."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from invariscope.zoo.networks.base import chosen_width, network, odd_kernel, refuse_small
from invariscope.zoo.networks.c4_conv import LAYERS, TURNS, TurnedConv, group_layers

ORDER = 2 * TURNS


def _product(one: int, other: int) -> int:
    """Return the element that does `other`, then `one`.

    Element 4 s + g flips left and right s times, then turns by g quarters. A flip before a turn equals the
    opposite turn before a flip.
    """
    (s, g), (t, h) = divmod(one, TURNS), divmod(other, TURNS)
    return TURNS * ((s + t) % 2) + (g - h if s else g + h) % TURNS


_SLICES = [
    sorted(range(ORDER), key=lambda k, element=element: _product(element, k)) for element in range(ORDER)
]
"""For each element, the slice that it moves to each place."""


class MirroredConv(TurnedConv):
    """A convolution from an image, or from fields, to fields of the regular representation of D4.

    Channel 8 i + 4 s + g of the output is the response of filter i after s flips from left to right and then
    g quarter turns: the order of `Grid(Flip(), QuarterTurns())`. If the input consists of such fields too,
    the eight slices of the filter are permuted as they are moved.
    """

    order: ClassVar[int] = ORDER

    def moved(self, element: int) -> Tensor:
        """Return the filters after a group element has moved their pixels and permuted their slices."""
        flips, turns = divmod(element, TURNS)
        weight = self.weight[:, :, _SLICES[element]] if self.slices > 1 else self.weight
        return (weight.flip(4) if flips else weight).rot90(turns, (3, 4))


class D4Conv(nn.Sequential):
    """Group convolutions over D4, the eight symmetries of a square.

        conv1 relu1                    (8 · fields, 28, 28): a field is eight channels, one per element
        pool1                          (8 · fields, 14, 14)
        conv2 relu2                    (8 · fields, 14, 14)
        conv3 relu3                    (64 · fields, 14, 14)
        pool                           (8 · fields,)
        fc log_softmax                 (classes,)

    A quarter turn or mirror image of a square image moves the maps in the same way and permutes the channels
    within each field: the regular representation. This is exact if the side is even, so that the grid stays
    centred after pool1. All layers from pool on are invariant.

    Source:
        Cohen and Welling 2016, Group equivariant convolutional networks, arXiv:1602.07576.
    """


@network
def d4_conv(
    input_shape: tuple[int, ...], classes: int, *, fields: int = 4, kernel_size: int = 5
) -> nn.Module:
    """Three group convolutions over quarter turns and flips: 4, 4 and 32 fields of eight elements each.

    A control like `c4_conv`, with the same number of channels in the first two layers. It cannot tell an
    image from its mirror image.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        fields: number of fields, of eight channels each, in the first two layers; the third has eight times
            as many.
        kernel_size: size of the filters, odd.

    Source:
        Cohen and Welling 2016, arXiv:1602.07576.

    >>> import torch
    >>> from invariscope.zoo.networks import build
    >>> _ = torch.manual_seed(0)
    >>> model, x = build("d4_conv").double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    >>> torch.allclose(model(x), model(x.flip(-1).rot90(dims=(2, 3))))
    True
    """
    refuse_small("d4_conv", input_shape, 2)
    fields = chosen_width("fields", fields, input_shape, 4, 4)
    widths, kinds = (fields, fields, ORDER * fields), [MirroredConv] * LAYERS
    return D4Conv(group_layers(kinds, input_shape[0], classes, widths, odd_kernel(kernel_size), order=ORDER))
