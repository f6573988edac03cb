"""MobileNetV2 for small images: depthwise convolutions between narrow linear layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from invariscope.zoo.networks.base import chosen_width, network

# (expansion, channels, blocks, stride) of each stage at the published width of 32.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_WIDTH, _HEAD = 32, 1280


class InvertedResidual(nn.Sequential):
    """bn3(project(relu2(bn2(depthwise(relu1(bn1(expand(x)))))))), plus x if the shapes agree.

    `expand` and `project` are 1x1; `depthwise` is 3x3, one filter per channel. ReLUs are clipped at 6;
    there is none after `project`. Without expansion, the first three layers are missing.

    Source:
        Sandler et al. 2018, arXiv:1801.04381, table 1.
    """

    def __init__(self, channels: int, width: int, *, expansion: int, stride: int) -> None:
        inner = expansion * channels
        layers = _normed("expand", 1, nn.Conv2d(channels, inner, 1, bias=False)) if expansion > 1 else {}
        depthwise = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        layers |= _normed("depthwise", 2, depthwise)
        layers |= {"project": nn.Conv2d(inner, width, 1, bias=False), "bn3": nn.BatchNorm2d(width)}
        super().__init__(OrderedDict(layers))
        self.adds = channels == width and stride == 1

    def forward(self, input: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, H / stride, W / stride)."""
        output = super().forward(input)
        return input + output if self.adds else output


class MobileNetV2(nn.Sequential):
    """conv1 bn1 relu1, stages stage1 to stage7 of inverted residuals, conv2 bn2 relu2, pool, fc, log_softmax.

    Strides are 1 in conv1, then 1, 2, 2, 2, 1, 2, 1: images of 32 x 32 become 2 x 2 maps.

    Source:
        Sandler et al. 2018, arXiv:1801.04381, table 2; conv1 has stride 1 instead of 2.
    """


@network
def mobilenet_v2(input_shape: tuple[int, ...], classes: int, *, width: int = 32) -> nn.Module:
    """MobileNetV2 with seventeen inverted residuals.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: channels of the first convolution; the stages are scaled in proportion, rounded to
            multiples of 8. The published width multiplier is width / 32.

    Source:
        Sandler et al. 2018, arXiv:1801.04381; stride 1 in the first convolution, for small images.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("mobilenet_v2", input_shape=(3, 32, 32)))
    2236682
    """
    width = chosen_width("width", width, input_shape, _WIDTH, _WIDTH)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers |= _normed("conv1", 1, nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False))
    channels = width
    for number, (expansion, published, blocks, stride) in enumerate(_STAGES, start=1):
        wide = _rounded(published * width / _WIDTH)
        stage = []
        for block in range(blocks):
            step = stride if block == 0 else 1
            stage.append(InvertedResidual(channels, wide, expansion=expansion, stride=step))
            channels = wide
        layers[f"stage{number}"] = nn.Sequential(*stage)
    head = _rounded(_HEAD * max(1.0, width / _WIDTH))
    layers |= _normed("conv2", 2, nn.Conv2d(channels, head, 1, bias=False))
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(head, classes)}
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return MobileNetV2(layers)


def _normed(name: str, number: int, conv: nn.Conv2d) -> dict[str, nn.Module]:
    return {name: conv, f"bn{number}": nn.BatchNorm2d(conv.out_channels), f"relu{number}": nn.ReLU6()}


def _rounded(channels: float) -> int:
    """Return the nearest multiple of 8 that is at least 8 and no more than a tenth below.

    >>> [_rounded(channels) for channels in (2, 12, 16, 24.5, 160)]
    [8, 16, 16, 24, 160]
    """
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
