"""MinLCN: MinCNN without shared weights, with separate filters at each position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from invariscope.zoo.networks.base import chosen_width, network, odd_kernel
from invariscope.zoo.networks.min_cnn import pooled_head


class LocallyConnected(nn.Module):
    """Convolution with different weights at each position; it keeps the image's size.

    .. math:: y_{o}(s) = b_o + \\sum_{c, r} w_{s, o, c, r}\\, x_c(s + r)

    The weight has the shape (position, out, in, k, k), with positions row by row; the image is padded with
    zeros. Weights are drawn as in a convolution with the same filter size. All positions share the bias.
    """

    def __init__(self, input_shape: tuple[int, ...], filters: int, kernel_size: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.size = (height, width)
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.empty(height * width, filters, channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(filters))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights uniformly within ±1/√(number of inputs of a unit), as in a convolution."""
        bound = 1 / math.sqrt(self.weight[0, 0].numel())
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def filter_bank(self) -> Tensor:
        """Return all filters of each output channel, (out, position * in, k, k)."""
        return self.weight.transpose(0, 1).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to (n, filters, H, W)."""
        if x.shape[-2:] != self.size:
            raise ValueError(
                f"this layer has filters for images of {self.size[0]} x {self.size[1]}, got "
                f"{x.shape[-2]} x {x.shape[-1]}: build the network for images of this size."
            )
        patches = functional.unfold(x, self.kernel_size, padding=self.kernel_size // 2)
        # (position, n, input of a unit) @ (position, input of a unit, out)
        y = torch.bmm(patches.permute(2, 0, 1), self.weight.flatten(2).transpose(1, 2))
        return y.permute(1, 2, 0).unflatten(2, self.size) + self.bias[:, None, None]


class MinLCN(nn.Sequential):
    """One locally connected layer, a ReLU, the mean over the image, and a linear layer.

    The layers and their shapes are those of MinCNN, with `local` instead of `conv`.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, the network with one hidden locally connected layer.
    """


@network
def min_lcn(
    input_shape: tuple[int, ...], classes: int, *, filters: int = 32, kernel_size: int = 9
) -> nn.Module:
    """MinCNN with separate filters at each position: the same width, with many more weights.

    Args:
        input_shape: (C, H, W); the network accepts no other shape.
        classes: number of classes.
        filters: number of hidden channels.
        kernel_size: size of the filters, odd; the image keeps its size.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("min_lcn", filters=4, kernel_size=3))
    28278
    """
    filters = chosen_width("filters", filters, input_shape, 32, 32)
    hidden = LocallyConnected(input_shape, filters, odd_kernel(kernel_size))
    return MinLCN(pooled_head(hidden, "local", filters, classes))
