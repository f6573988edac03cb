"""ResNet-9: a shallow residual network that learns CIFAR-10 in a few epochs."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from invariscope.zoo.networks.base import Scaled, chosen_width, network, refuse_small

LOGIT_SCALE = 1 / 8


class ResidualPair(nn.Sequential):
    """x + relu2(bn2(conv2(relu1(bn1(conv1(x)))))), both convolutions 3x3 and of the same width."""

    def __init__(self, width: int) -> None:
        super().__init__(_convolution(1, width, width) | _convolution(2, width, width))

    def forward(self, input: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        return input + super().forward(input)


class ResNet9(nn.Sequential):
    """Four convolutions, all but the first with pooling, and residual pairs after the second and the fourth.

        conv1 bn1 relu1                  (w, 32, 32)
        conv2 bn2 relu2 pool2 pair2      (2 w, 16, 16)
        conv3 bn3 relu3 pool3            (4 w, 8, 8)
        conv4 bn4 relu4 pool4 pair4      (8 w, 4, 4)
        pool flatten                     (8 w,): the largest value of each channel
        fc scale log_softmax             (classes,)

    `fc` has no biases, and its outputs are divided by 8.

    Source:
        Page 2018, How to train your ResNet (myrtle.ai), the network of its DAWNBench entry.
    """


@network
def resnet9(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-9: eight convolutions and a linear layer.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: channels of the first convolution: 64 as published; 32 trains four times as fast.

    Source:
        Page 2018, How to train your ResNet (myrtle.ai).

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> [parameter_count(build("resnet9", input_shape=(3, 32, 32), width=width)) for width in (32, 64)]
    [1646112, 6573120]
    """
    width = chosen_width("width", width, input_shape, 64, 64)
    refuse_small("resnet9", input_shape, 8)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = input_shape[0]
    for number, times in enumerate((1, 2, 4, 8), start=1):
        layers |= _convolution(number, channels, times * width)
        channels = times * width
        if number > 1:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
        if number in (2, 4):
            layers[f"pair{number}"] = ResidualPair(channels)
    layers["pool"] = nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes, bias=False)
    layers["scale"] = Scaled(LOGIT_SCALE)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return ResNet9(layers)


def _convolution(number: int, channels: int, width: int) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    layers[f"bn{number}"] = nn.BatchNorm2d(width)
    layers[f"relu{number}"] = nn.ReLU()
    return layers
