"""MinCNN, the smallest convolutional classifier: one hidden layer, averaged over the image."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from invariscope.common.registry import unknown
from invariscope.zoo.networks.base import chosen_width, network, odd_kernel

PADDINGS = ("zeros", "circular")


class MinCNN(nn.Sequential):
    """One convolution, a ReLU, the mean over the image, and a linear layer.

    With f filters, a 28 x 28 image with one channel passes through

        conv relu                      (f, 28, 28)
        pool flatten                   (f,)
        fc log_softmax                 (classes,)

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, the network with one hidden convolutional layer.
    """


def pooled_head(hidden: nn.Module, name: str, width: int, classes: int) -> OrderedDict[str, nn.Module]:
    """Return the hidden layer under its name, and all layers after it."""
    return OrderedDict[str, nn.Module](
        {
            name: hidden,
            "relu": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(width, classes),
            "log_softmax": nn.LogSoftmax(dim=1),
        }
    )


@network
def min_cnn(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: int = 32,
    kernel_size: int = 9,
    padding_mode: str = "zeros",
) -> nn.Module:
    """MinCNN with 32 filters of 9 x 9, which are large enough to inspect.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        filters: number of hidden channels.
        kernel_size: size of the filters, odd; the image keeps its size.
        padding_mode: "zeros" or "circular".

    Source:
        Tomasini et al. 2022, arXiv:2210.01506.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("min_cnn")), parameter_count(build("min_cnn", input_shape=(3, 32, 32)))
    (2954, 8138)
    """
    filters = chosen_width("filters", filters, input_shape, 32, 32)
    size = odd_kernel(kernel_size)
    if padding_mode not in PADDINGS:
        raise unknown("padding_mode", padding_mode, PADDINGS)
    hidden = nn.Conv2d(input_shape[0], filters, size, padding=size // 2, padding_mode=padding_mode)
    return MinCNN(pooled_head(hidden, "conv", filters, classes))
