"""SimpleConv, the small network of Quiroga et al. 2019."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from invariscope.zoo.networks.base import chosen_width, network, refuse_small


class SimpleConv(nn.Sequential):
    """Five 3x3 convolutions in blocks of two, two and one, then two fully connected layers.

    Each convolution is padded to keep the size and followed by a ReLU; 2x2 max-pooling ends the first two
    blocks. With f filters, a 28 x 28 image of one channel passes

        conv1 relu1 conv2 relu2        (f, 28, 28)
        pool1                          (f, 14, 14)
        conv3 relu3 conv4 relu4        (2f, 14, 14)
        pool2                          (2f, 7, 7)
        conv5 relu5                    (4f, 7, 7)
        flatten fc1 fc1_relu           (fc,)
        fc2 log_softmax                (classes,)

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, "SimpleConv".
    """


def _layers(
    input_shape: tuple[int, ...], classes: int, filters: int, fc: int, batch_norm: bool
) -> OrderedDict[str, nn.Module]:
    channels, height, width = input_shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, times in enumerate((1, 1, 2, 2, 4), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, times * filters, 3, padding=1)
        if batch_norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(times * filters)
        layers[f"relu{number}"] = nn.ReLU()
        if number in (2, 4):
            layers[f"pool{number // 2}"] = nn.MaxPool2d(2)
        channels = times * filters
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(channels * (height // 4) * (width // 4), fc)
    layers["fc1_relu"] = nn.ReLU()
    layers["fc2"] = nn.Linear(fc, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return layers


@network
def simple_conv(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: int | None = None,
    fc: int | None = None,
    batch_norm: bool = False,
) -> nn.Module:
    """SimpleConv as published: 32 filters and fc 64 for grey images, 64 and 128 for colour.

    Args:
        input_shape: (C, H, W), at least 4 x 4.
        classes: how many.
        filters: of the first block; the second has twice, the third four times as many.
        fc: units of the first fully connected layer.
        batch_norm: normalise after each convolution; not so in the publication.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, "SimpleConv"; widths of its code.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("simple_conv")), parameter_count(build("simple_conv", input_shape=(3, 32, 32)))
    (540970, 2653898)
    """
    refuse_small("simple_conv", input_shape, 4)
    filters = chosen_width("filters", filters, input_shape, 32, 64)
    fc = chosen_width("fc", fc, input_shape, 64, 128)
    return SimpleConv(_layers(input_shape, classes, filters, fc, batch_norm))
