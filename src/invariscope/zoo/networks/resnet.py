"""ResNet for small images: a 3x3 first convolution of stride 1, and no pooling after it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from invariscope.zoo.networks.base import chosen_width, network


class BasicBlock(nn.Module):
    """relu2(bn2(conv2(relu1(bn1(conv1(x))))) + shortcut(x)), both convolutions 3x3.

    Source:
        He et al. 2016, arXiv:1512.03385, figure 5 left.
    """

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, H / stride, W / stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + (x if self.shortcut is None else self.shortcut(x)))


class Bottleneck(nn.Module):
    """relu3(bn3(conv3(...)) + shortcut(x)): convolutions of 1x1, 3x3 and 1x1, the third four times as wide.

    Source:
        He et al. 2016, arXiv:1512.03385, figure 5 right; the stride is in the 3x3 convolution.
    """

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(channels, 4 * width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, 4 width, H / stride, W / stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Sequential):
    """conv1, bn1, relu1, four stages of residual blocks, average pooling, fc, log_softmax.

    Stages layer1 to layer4 have 1, 2, 4 and 8 times the base width (four times that after bottlenecks) and
    strides 1, 2, 2, 2: images of 28 x 28 or 32 x 32 become 4 x 4 maps.

    Source:
        He et al. 2016, arXiv:1512.03385, with the stem for 32 x 32 images from section 4.2.
    """


def _layers(
    channels: int, classes: int, block: type[BasicBlock | Bottleneck], depths: Sequence[int], width: int
) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    layers["bn1"] = nn.BatchNorm2d(width)
    layers["relu1"] = nn.ReLU()
    channels = width
    for number, depth in enumerate(depths):
        wide = width * 2**number
        strides = [1 if number == 0 else 2] + [1] * (depth - 1)
        entries = [channels] + [wide * block.expansion] * (depth - 1)
        blocks = [block(entry, wide, stride) for entry, stride in zip(entries, strides, strict=True)]
        layers[f"layer{number + 1}"] = nn.Sequential(*blocks)
        channels = wide * block.expansion
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return layers


def _shortcut(channels: int, width: int, stride: int) -> nn.Module | None:
    """Return a 1x1 convolution if the shapes differ, or None if the input is added directly."""
    if channels == width and stride == 1:
        return None
    layers = {"conv": nn.Conv2d(channels, width, 1, stride, bias=False), "bn": nn.BatchNorm2d(width)}
    return nn.Sequential(OrderedDict(layers))


@network
def resnet18(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-18: two basic blocks per stage.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: channels of the first stage.

    Source:
        He et al. 2016, arXiv:1512.03385, table 1 (18-layer), with the stem for small images.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("resnet18")), parameter_count(build("resnet18", input_shape=(3, 32, 32)))
    (11172810, 11173962)
    """
    width = chosen_width("width", width, input_shape, 64, 64)
    return ResNet(_layers(input_shape[0], classes, BasicBlock, (2, 2, 2, 2), width))


@network
def resnet50(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """ResNet-50: three, four, six and three bottlenecks.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: channels inside the bottlenecks of the first stage.

    Source:
        He et al. 2016, arXiv:1512.03385, table 1 (50-layer), with the stem for small images.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("resnet50")), parameter_count(build("resnet50", input_shape=(3, 32, 32)))
    (23519690, 23520842)
    """
    width = chosen_width("width", width, input_shape, 64, 64)
    return ResNet(_layers(input_shape[0], classes, Bottleneck, (3, 4, 6, 3), width))
