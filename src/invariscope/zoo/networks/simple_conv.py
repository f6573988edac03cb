"""SimpleConv, the small network of Quiroga et al. 2019, and its variants."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from invariscope.common.registry import unknown
from invariscope.zoo.networks.base import chosen_width, network, odd_kernel, refuse_small

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
POOLING: dict[str, Callable[[], nn.Module | None]] = {
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2),
    "stride": lambda: None,
}


class SimpleConv(nn.Sequential):
    """Five 3x3 convolutions in blocks of two, two and one, then two fully connected layers.

    Each convolution is padded to keep the size and followed by a ReLU; 2x2 max-pooling ends the first two
    blocks. With f filters, a 28 x 28 image with one channel passes through

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


@dataclass(frozen=True, kw_only=True)
class Design:
    """The options that define a SimpleConv; `simple_conv` documents them.

    Raises:
        ValueError: an unknown activation or pooling, or an even kernel size.
    """

    filters: int
    fc: int
    batch_norm: bool = False
    activation: str = "relu"
    pooling: str = "max"
    kernel_size: int = 3

    def __post_init__(self) -> None:
        for kind, allowed in (("activation", ACTIVATIONS), ("pooling", POOLING)):
            if getattr(self, kind) not in allowed:
                raise unknown(kind, str(getattr(self, kind)), allowed)
        odd_kernel(self.kernel_size)

    def layers(self, input_shape: tuple[int, ...], classes: int) -> OrderedDict[str, nn.Module]:
        """Build the modules in the order in which they run; weights are drawn from the global generator."""
        channels, height, width = input_shape
        found: OrderedDict[str, nn.Module] = OrderedDict()
        for number, times in enumerate((1, 1, 2, 2, 4), start=1):
            found |= self._stage(number, channels, times * self.filters)
            channels = times * self.filters
            if number in (2, 4):
                height, width = (self._halved(size) for size in (height, width))
        found["flatten"] = nn.Flatten()
        found["fc1"] = nn.Linear(channels * height * width, self.fc)
        found[f"fc1_{self.activation}"] = ACTIVATIONS[self.activation]()
        found["fc2"] = nn.Linear(self.fc, classes)
        found["log_softmax"] = nn.LogSoftmax(dim=1)
        return found

    def _stage(self, number: int, channels: int, width: int) -> OrderedDict[str, nn.Module]:
        """Build a convolution and the layers after it, which halve the image after convolutions 2 and 4."""
        pool = POOLING[self.pooling]() if number in (2, 4) else None
        stride = 2 if number in (2, 4) and pool is None else 1
        size = self.kernel_size
        found: OrderedDict[str, nn.Module] = OrderedDict()
        found[f"conv{number}"] = nn.Conv2d(channels, width, size, stride, padding=size // 2)
        if self.batch_norm:
            found[f"bn{number}"] = nn.BatchNorm2d(width)
        found[f"{self.activation}{number}"] = ACTIVATIONS[self.activation]()
        if pool is not None:
            found[f"pool{number // 2}"] = pool
        return found

    def _halved(self, size: int) -> int:
        """Return the halved size: pooling rounds an odd size down, a strided convolution rounds it up."""
        return (size + 1) // 2 if self.pooling == "stride" else size // 2


@network
def simple_conv(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: int | None = None,
    fc: int | None = None,
    batch_norm: bool = False,
    activation: str = "relu",
    pooling: str = "max",
    kernel_size: int = 3,
) -> nn.Module:
    """SimpleConv as published: 32 filters and fc 64 for grey images, 64 and 128 for colour.

    Args:
        input_shape: (C, H, W), at least 4 x 4.
        classes: number of classes.
        filters: number of filters in the first block; the second has twice and the third four times as many.
        fc: number of units in the first fully connected layer.
        batch_norm: whether to normalise after each convolution; the published network does not.
        activation: "relu", as published, or "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh",
            "sigmoid". Layers are named after it: `elu1`, `fc1_elu`.
        pooling: "max", as published, "average", or "stride": a stride of 2 in the second and the fourth
            convolution instead of pooling layers.
        kernel_size: size of all convolutions, odd; 3 as published.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, "SimpleConv"; widths as in their code.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("simple_conv")), parameter_count(build("simple_conv", input_shape=(3, 32, 32)))
    (540970, 2653898)
    """
    refuse_small("simple_conv", input_shape, 4)
    design = Design(
        filters=chosen_width("filters", filters, input_shape, 32, 64),
        fc=chosen_width("fc", fc, input_shape, 64, 128),
        batch_norm=batch_norm,
        activation=activation,
        pooling=pooling,
        kernel_size=kernel_size,
    )
    return SimpleConv(design.layers(input_shape, classes))
