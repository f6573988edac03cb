"""LeNet with ReLUs and max-pooling, as it is usually trained today."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from invariscope.zoo.networks.base import network, refuse_small

_PADDED_BELOW = 32


class LeNet(nn.Sequential):
    """Two 5x5 convolutions with pooling (6 and 16 filters), then dense layers of 120 and 84 units and a head.

        conv1 relu1                    (6, 28, 28)
        pool1                          (6, 14, 14)
        conv2 relu2                    (16, 10, 10)
        pool2                          (16, 5, 5)
        flatten fc1 fc1_relu           (120,)
        fc2 fc2_relu                   (84,)
        fc3 log_softmax                (classes,)

    The shapes are those for 28 x 28 images, which conv1 pads by two pixels, and for 32 x 32 images, which it
    does not pad.

    Source:
        LeCun et al. 1998, doi:10.1109/5.726791, "LeNet-5", with ReLUs in place of sigmoids, max-pooling in
        place of trained subsampling, and all channels connected.
    """


@network
def lenet(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """LeNet-5 with its published widths.

    Args:
        input_shape: (C, H, W), at least 12 x 12; images with a side below 32 are padded by two pixels.
        classes: number of classes.

    Source:
        LeCun et al. 1998, doi:10.1109/5.726791; Petrini et al. 2021, arXiv:2105.02468.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("lenet")), parameter_count(build("lenet", input_shape=(3, 32, 32)))
    (61706, 62006)
    """
    refuse_small("lenet", input_shape, 12)
    channels, height, width = input_shape
    padding = 2 if min(height, width) < _PADDED_BELOW else 0
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(channels, 6, 5, padding=padding)
    layers |= {"relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)}
    layers["conv2"] = nn.Conv2d(6, 16, 5)
    layers |= {"relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2), "flatten": nn.Flatten()}
    pixels = [((size + 2 * padding - 4) // 2 - 4) // 2 for size in (height, width)]
    for number, (entry, units) in enumerate([(16 * pixels[0] * pixels[1], 120), (120, 84)], start=1):
        layers[f"fc{number}"] = nn.Linear(entry, units)
        layers[f"fc{number}_relu"] = nn.ReLU()
    layers["fc3"] = nn.Linear(84, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return LeNet(layers)
