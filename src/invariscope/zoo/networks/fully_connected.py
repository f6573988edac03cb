"""A network without convolutions, which has no built-in image structure."""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import nn

from invariscope.common.checks import integer
from invariscope.zoo.networks.base import chosen_width, network


class FullyConnected(nn.Sequential):
    """Hidden layers of equal width on the flattened image, each with a ReLU, then a linear layer.

    With three hidden layers: flatten, fc1, fc1_relu, fc2, fc2_relu, fc3, fc3_relu, fc4, log_softmax.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, "FullConn".
    """


@network
def fully_connected(
    input_shape: tuple[int, ...], classes: int, *, width: int = 64, depth: int = 3
) -> nn.Module:
    """Fully connected network with three hidden layers of 64 units.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: number of units in each hidden layer.
        depth: number of hidden layers.

    Source:
        Petrini et al. 2021, arXiv:2105.02468.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("fully_connected"))
    59210
    """
    width = chosen_width("width", width, input_shape, 64, 64)
    depth = integer("depth", depth, most=1_000)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = prod(input_shape)
    for number in range(1, depth + 1):
        layers[f"fc{number}"] = nn.Linear(features, width)
        layers[f"fc{number}_relu"] = nn.ReLU()
        features = width
    layers[f"fc{depth + 1}"] = nn.Linear(features, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return FullyConnected(layers)
