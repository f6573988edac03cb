"""SimpleConv after a spatial transformer that learns to turn images upright."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from invariscope.zoo.networks.base import chosen_width, network, refuse_small
from invariscope.zoo.networks.simple_conv import Design


class Direction(nn.Linear):
    """Linear layer from features to an unnormalised (cosine, sine); initially (1, 0) for any input."""

    def __init__(self, features: int) -> None:
        super().__init__(features, 2)

    def reset_parameters(self) -> None:
        """Set the rotation to zero, without drawing, so networks with random weights also start at zero."""
        with torch.no_grad():
            self.weight.zero_()
            self.bias.copy_(torch.tensor([1.0, 0.0]))


class Turn(nn.Module):
    """Rotate each image about its centre by its own angle, given as a (cosine, sine) of any length.

    .. math:: y(s) = x(R s), \\quad R = \\begin{pmatrix} c & -d \\\\ d & c \\end{pmatrix} / \\sqrt{c^2 + d^2}

    with s in pixels from the centre, so that images that are not square are not distorted. Interpolation is
    bilinear, with 0 outside the image. The result is differentiable with respect to the image and (c, d).
    """

    def forward(self, x: Tensor, direction: Tensor) -> Tensor:
        """Map (n, C, H, W) and (n, 2) to (n, C, H, W)."""
        cosine, sine = functional.normalize(direction, dim=1).unbind(1)
        aspect = x.shape[-2] / x.shape[-1]
        zero = torch.zeros_like(cosine)
        rows = (cosine, -sine * aspect, zero, sine / aspect, cosine, zero)
        matrices = torch.stack(rows, dim=1).reshape(-1, 2, 3)
        grid = functional.affine_grid(matrices, list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)


class Correction(nn.Module):
    """Predict an angle with a small convolutional network, `localisation`, and rotate the image by it.

    The small network uses ELUs: most ReLUs would die early in training, and the angle would stop changing.

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
        """Map images (n, C, H, W) to rotated images."""
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
    """SimpleConv after a spatial transformer that predicts one rotation per image and undoes it.

    The initial rotation is zero: with the same seed, the output is that of `simple_conv` up to rounding. The
    angle is learned only from the labels. It is predicted as a direction, so it is continuous on the circle.

    Caveats: the corrected image is interpolated, so an input that is itself a rotated image has been
    interpolated twice. Invariance of the layers after the correction may be due to the correction or to the
    layers themselves.

    Args:
        input_shape: (C, H, W), at least 4 x 4.
        classes: number of classes.
        filters, fc, batch_norm: options of SimpleConv.
        localisation_filters: number of filters in the first of the two convolutions that predict the angle.

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
    # SimpleConv is drawn first, so that its weights are those of `simple_conv` with the same seed.
    classifier = design.layers(input_shape, classes)
    correction: OrderedDict[str, nn.Module] = OrderedDict(correction=Correction(input_shape, small))
    return STNSimpleConv(correction | classifier)
