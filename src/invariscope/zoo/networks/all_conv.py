"""AllConv, a network without pooling or fully connected layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from invariscope.zoo.networks.base import chosen_width, network, refuse_small

# (multiple of the base width, kernel, stride); convolutions 3 and 6 replace pooling layers.
_PLAN = (
    (1, 3, 1), (1, 3, 1), (1, 3, 2),
    (2, 3, 1), (2, 3, 1), (2, 3, 2),
    (2, 3, 1), (2, 1, 1),
)  # fmt: skip


class AllConv(nn.Sequential):
    """Nine convolutions; the last one has a channel per class, which is averaged over the image.

    With f filters, a 28 x 28 image with one channel passes through

        conv1 conv2                    (f, 28, 28)
        conv3, stride 2                (f, 14, 14)
        conv4 conv5                    (2f, 14, 14)
        conv6, stride 2                (2f, 7, 7)
        conv7, conv8 of 1x1            (2f, 7, 7)
        conv9 of 1x1, relu9            (classes, 7, 7)
        pool flatten log_softmax       (classes,)

    All convolutions except the last are followed by batch normalisation (bn1, ...), and all by a ReLU
    (relu1, ...).

    Source:
        Springenberg et al. 2015, arXiv:1412.6806, "All-CNN-C"; batch normalisation in place of dropout, as in
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9. Their code also pads conv8, a 1x1 convolution,
        by one pixel; here its maps keep their size.
    """


def _layers(channels: int, classes: int, filters: int, batch_norm: bool) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (times, kernel, stride) in enumerate(_PLAN, start=1):
        width = times * filters
        layers[f"conv{number}"] = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
        if batch_norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(width)
        layers[f"relu{number}"] = nn.ReLU()
        channels = width
    layers["conv9"] = nn.Conv2d(channels, classes, 1)
    layers["relu9"] = nn.ReLU()
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    return layers


@network
def all_conv(
    input_shape: tuple[int, ...], classes: int, *, filters: int | None = None, batch_norm: bool = True
) -> nn.Module:
    """AllConv with the widths of the 2019 experiments: 16 filters for grey images, 64 for colour.

    Args:
        input_shape: (C, H, W), at least 4 x 4.
        classes: number of classes.
        filters: number of filters in each of the first three convolutions; the others have twice as many.
        batch_norm: whether to normalise after each convolution except the last.

    Source:
        Springenberg et al. 2015, arXiv:1412.6806; Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("all_conv")), parameter_count(build("all_conv", input_shape=(3, 32, 32)))
    (38986, 611722)
    """
    refuse_small("all_conv", input_shape, 4)
    filters = chosen_width("filters", filters, input_shape, 16, 64)
    return AllConv(_layers(input_shape[0], classes, filters, batch_norm))
