"""SimpleConv behind a spatial transformer that turns the image upright, as far as it has learned to."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from invariscope.zoo.networks.base import chosen_width, network, refuse_small
from invariscope.zoo.networks.simple_conv import Design


class Direction(nn.Linear):
    """A linear layer from features to an unnormalised (cosine, sine); it starts as (1, 0) for any input."""

    def __init__(self, features: int) -> None:
        super().__init__(features, 2)

    def reset_parameters(self) -> None:
        """No turn: nothing is drawn, so networks with random weights start without a turn too."""
        with torch.no_grad():
            self.weight.zero_()
            self.bias.copy_(torch.tensor([1.0, 0.0]))


class Turn(nn.Module):
    """Rotates each image about its centre by its own angle, given as a (cosine, sine) of any length.

    .. math:: y(s) = x(R s), \\quad R = \\begin{pmatrix} c & -d \\\\ d & c \\end{pmatrix} / \\sqrt{c^2 + d^2}

    with s in pixels from the centre, so that rectangles are not distorted. Bilinear; what comes from outside
    is 0. Differentiable in the image and in (c, d).
    """

    def forward(self, x: Tensor, direction: Tensor) -> Tensor:
        """Maps (n, C, H, W) and (n, 2) to (n, C, H, W)."""
        cosine, sine = functional.normalize(direction, dim=1).unbind(1)
        aspect = x.shape[-2] / x.shape[-1]
        zero = torch.zeros_like(cosine)
        rows = (cosine, -sine * aspect, zero, sine / aspect, cosine, zero)
        matrices = torch.stack(rows, dim=1).reshape(-1, 2, 3)
        grid = functional.affine_grid(matrices, list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)


class Correction(nn.Module):
    """Finds an angle with a small convolutional network, `localisation`, and turns the image by it.

    ELUs, because most ReLUs here die early in training, and the angle with them.

    Source:
        Jaderberg et al. 2015, arXiv:1506.02025, the transformer restricted to rotations.
    """

    def __init__(self, input_shape: tuple[int, ...], filters: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(channels, filters, 5, padding=2)
        layers["elu1"] = nn.ELU()
        layers["pool1"] = nn.MaxPool2d(2)
        layers["conv2"] = nn.Conv2d(filters, 2 * filters, 5, padding=2)
        layers["elu2"] = nn.ELU()
        layers["pool2"] = nn.MaxPool2d(2)
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(2 * filters * (height // 4) * (width // 4), 4 * filters)
        layers["fc1_elu"] = nn.ELU()
        layers["direction"] = Direction(4 * filters)
        self.localisation = nn.Sequential(layers)
        self.turn = Turn()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, C, H, W) to itself, turned."""
        return self.turn(x, self.localisation(x))


class STNSimpleConv(nn.Sequential):
    """`correction`, then the layers of SimpleConv under their own names.

        correction.localisation.conv1 ... .direction    (2,)
        correction.turn                                 (C, H, W): the image that SimpleConv sees
        conv1 relu1 ... log_softmax                     as in SimpleConv

    Source:
        Jaderberg et al. 2015, arXiv:1506.02025; Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.
    """


@network
def stn_simple_conv(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: int | None = None,
    fc: int | None = None,
    batch_norm: bool = False,
    localisation_filters: int = 8,
) -> nn.Module:
    """SimpleConv behind a spatial transformer that predicts one rotation per image and undoes it.

    It starts without a turn: with the same seed, its output is that of `simple_conv` up to rounding. The
    angle is learned from the labels alone. It is continuous on the circle, being predicted as a direction.

    Caveats: the corrected image is interpolated, and an input that is turned already is interpolated twice.
    An invariance of the layers behind the correction may be the correction's, or their own.

    Args:
        input_shape: (C, H, W), at least 4 x 4.
        classes: how many.
        filters, fc, batch_norm: of SimpleConv.
        localisation_filters: of the first of the two convolutions that predict the angle.

    Source:
        Jaderberg et al. 2015, arXiv:1506.02025; Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.

    >>> from invariscope.zoo.networks import build, parameter_count
    >>> parameter_count(build("stn_simple_conv")) - parameter_count(build("simple_conv"))
    28610
    """
    refuse_small("stn_simple_conv", input_shape, 4)
    design = Design(
        filters=chosen_width("filters", filters, input_shape, 32, 64),
        fc=chosen_width("fc", fc, input_shape, 64, 128),
        batch_norm=batch_norm,
    )
    small = chosen_width("localisation_filters", localisation_filters, input_shape, 8, 8)
    # SimpleConv is drawn first, so that it starts as `simple_conv` does from the same seed.
    classifier = design.layers(input_shape, classes)
    correction: OrderedDict[str, nn.Module] = OrderedDict(correction=Correction(input_shape, small))
    return STNSimpleConv(correction | classifier)
