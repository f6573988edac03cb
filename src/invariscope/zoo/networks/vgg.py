"""VGG16 and VGG11, for small images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil

from torch import nn

from invariscope.zoo.networks.base import chosen_width, network

# (convolutions, multiple of the base width) for each block.
_BLOCKS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
_BLOCKS_11 = ((1, 1), (1, 2), (2, 4), (2, 8), (2, 8))


class VGG(nn.Sequential):
    """Thirteen 3x3 convolutions in five blocks that end in 2x2 max-pooling, then three dense layers.

    The layers of block b are conv{b}_{i}, bn{b}_{i}, relu{b}_{i} and pool{b}. Pooling rounds odd sizes up, so
    that images of 28 x 28 (28, 14, 7, 4, 2, 1) and 32 x 32 can be pooled five times. The blocks are followed
    by flatten, fc1, fc1_relu, fc2, fc2_relu, fc3 and log_softmax.

    Source:
        Simonyan and Zisserman 2015, arXiv:1409.1556, configuration D; batch normalisation added.
    """


def _layers(
    input_shape: tuple[int, ...], classes: int, filters: int, fc: int, batch_norm: bool
) -> OrderedDict[str, nn.Module]:
    channels, height, width = input_shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, (count, times) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            name = f"{block}_{number}"
            layers[f"conv{name}"] = nn.Conv2d(channels, times * filters, 3, padding=1)
            if batch_norm:
                layers[f"bn{name}"] = nn.BatchNorm2d(times * filters)
            layers[f"relu{name}"] = nn.ReLU()
            channels = times * filters
        layers[f"pool{block}"] = nn.MaxPool2d(2, ceil_mode=True)
    layers["flatten"] = nn.Flatten()
    features = channels * ceil(height / 2 ** len(_BLOCKS)) * ceil(width / 2 ** len(_BLOCKS))
    for number in (1, 2):
        layers[f"fc{number}"] = nn.Linear(features, fc)
        layers[f"fc{number}_relu"] = nn.ReLU()
        features = fc
    layers["fc3"] = nn.Linear(fc, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return layers


@network
def vgg16(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: int | None = None,
    fc: int | None = None,
    batch_norm: bool = True,
) -> nn.Module:
    """VGG16 with the 2019 experiments' widths: 16 filters and fc 64 for grey images, 64 and 128 for colour.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        filters: number of filters in the first block; the others have 2, 4, 8 and 8 times as many.
        fc: number of units in the first two fully connected layers.
        batch_norm: whether to normalise after each convolution. Without it, the thirteen convolutions hardly
            learn from random weights at the published learning rate of 1e-5.

    Source:
        Simonyan and Zisserman 2015, arXiv:1409.1556; Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("vgg16")), parameter_count(build("vgg16", input_shape=(3, 32, 32)))
    (935674, 14806602)
    """
    filters = chosen_width("filters", filters, input_shape, 16, 64)
    fc = chosen_width("fc", fc, input_shape, 64, 128)
    return VGG(_layers(input_shape, classes, filters, fc, batch_norm))


class PooledVGG(nn.Sequential):
    """Numbered layers `features.0`, `features.1` ..., then one linear layer on their mean over the image.

    The numbers are those of torchvision's VGG with the same number of convolutions: each convolution,
    normalisation, ReLU and pooling layer has its own. `features` is followed by avgpool, flatten, classifier
    and log_softmax. Pooling rounds odd sizes up.

    Source:
        Simonyan and Zisserman 2015, arXiv:1409.1556; one linear layer, as in Petrini et al. 2021,
        arXiv:2105.02468.
    """


def _features(channels: int, blocks: Sequence[tuple[int, int]], filters: int, batch_norm: bool) -> nn.Module:
    layers: list[nn.Module] = []
    for count, times in blocks:
        for _ in range(count):
            width = times * filters
            norm = [nn.BatchNorm2d(width)] if batch_norm else []
            layers += [nn.Conv2d(channels, width, 3, padding=1), *norm, nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers)


@network
def vgg11(
    input_shape: tuple[int, ...], classes: int, *, filters: int = 64, batch_norm: bool = True
) -> nn.Module:
    """VGG11 with torchvision's layer numbers.

    The receptive fields of `features.10` have a side of 18 pixels and are 4 pixels apart.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        filters: number of filters in the first block; the others have 2, 4, 8 and 8 times as many.
        batch_norm: whether to normalise after each convolution.

    Source:
        Simonyan and Zisserman 2015, arXiv:1409.1556, configuration A; Tomasini et al. 2022,
        arXiv:2210.01506.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("vgg11", input_shape=(3, 32, 32)))
    9231114
    """
    filters = chosen_width("filters", filters, input_shape, 64, 64)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["features"] = _features(input_shape[0], _BLOCKS_11, filters, batch_norm)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(_BLOCKS_11[-1][1] * filters, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return PooledVGG(layers)
