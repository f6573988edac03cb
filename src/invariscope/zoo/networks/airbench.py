"""The network of airbench: whitened patches, filters initialised to the identity, six convolutions."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from invariscope.zoo.networks.base import Scaled, chosen_width, network, refuse_small
from invariscope.zoo.whitening import WhiteningConv

LOGIT_SCALE = 1 / 9
# Weight of the newest batch in the running statistics; large, because training takes few epochs.
MOMENTUM = 0.4


class IdentityConv(nn.Conv2d):
    """3x3 convolution whose first filters initially pass one input channel each; the others are random.

    Source:
        Jordan 2024, arXiv:2404.00498, section 3.3.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, padding=1, bias=False)

    def reset_parameters(self) -> None:
        """Draw all filters, then set the first ones to the identity."""
        super().reset_parameters()
        with torch.no_grad():
            nn.init.dirac_(self.weight[: self.in_channels])


class ShiftedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with a learned shift and no scale."""

    def __init__(self, width: int) -> None:
        super().__init__(width, momentum=MOMENTUM, affine=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def reset_parameters(self) -> None:
        """Reset the running statistics and the shift."""
        super().reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Airbench(nn.Sequential):
    """A whitening layer, then three blocks of two convolutions.

        whiten gelu                          (8 C, 31, 31): filters of 2 x 2, fitted to the training images
        conv1_1 pool1 bn1_1 gelu1_1 conv1_2 bn1_2 gelu1_2    (w, 15, 15)
        conv2_1 ... gelu2_2                  (4 w, 7, 7)
        conv3_1 ... gelu3_2                  (4 w, 3, 3)
        pool flatten                         (4 w,): the largest value of each channel
        fc scale log_softmax                 (classes,)

    `fc` has no biases, and its outputs are divided by 9.

    Source:
        Jordan 2024, arXiv:2404.00498, section 3.
    """


@network
def airbench(input_shape: tuple[int, ...], classes: int, *, width: int = 64) -> nn.Module:
    """The airbench network, which reaches an accuracy of .94 on CIFAR-10 in ten epochs.

    It differs from the published network in details: running statistics use the common epsilon of 1e-5, and
    the biases of the whitening layer are trained throughout. Learning rates, schedule and augmentation are
    those of `train`.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        width: channels of the first block; the others have four times as many.

    Source:
        Jordan 2024, arXiv:2404.00498, airbench94.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("airbench", input_shape=(3, 32, 32)))  # and 288 in the whitening filters
    1971352
    """
    width = chosen_width("width", width, input_shape, 64, 64)
    refuse_small("airbench", input_shape, 9)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    whiten = WhiteningConv(input_shape[0], 2)
    layers |= {"whiten": whiten, "gelu": nn.GELU()}
    channels = whiten.out_channels
    for block, times in enumerate((1, 4, 4), start=1):
        for number in (1, 2):
            name = f"{block}_{number}"
            layers[f"conv{name}"] = IdentityConv(channels, times * width)
            channels = times * width
            if number == 1:
                layers[f"pool{block}"] = nn.MaxPool2d(2)
            layers |= {f"bn{name}": ShiftedBatchNorm(channels), f"gelu{name}": nn.GELU()}
    layers |= {"pool": nn.AdaptiveMaxPool2d(1), "flatten": nn.Flatten()}
    layers["fc"] = nn.Linear(channels, classes, bias=False)
    layers |= {"scale": Scaled(LOGIT_SCALE), "log_softmax": nn.LogSoftmax(dim=1)}
    return Airbench(layers)
