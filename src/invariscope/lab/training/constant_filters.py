"""A network of constant filters, whose responses to displacements and noise can be calculated by hand."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from invariscope.common.checks import integer


class ConstantFilterNet(nn.Sequential):
    """Convolutions conv1, conv2, ... with one channel and equal weights, each followed by relu1, relu2, ...

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, the model of spatial pooling.
    """


def constant_filters(
    layers: int, *, dimensions: int = 2, filter_size: int = 3, stride: int = 1
) -> ConstantFilterNet:
    """Build a network of repeated local averages, for the theory of how pooling affects stability.

    .. math:: f_k = \\mathrm{ReLU}(g * f_{k-1}), \\qquad g = F^{-d} \\text{ on } F^d \\text{ pixels}

    The ReLU does not change positive images. On a black background, it passes only the positive half of
    noise, whose mean accumulates over layers. The theory is about D and G of the measure `stability`, for
    images of a few bright pixels that are displaced by one pixel. It depends on the width A of the receptive
    field: without strides, A ~ √k, and the theory predicts D ~ A⁻² and G ~ A^d; with filter = stride = F,
    A = F^k, and it predicts D ~ A⁻¹ and G ~ A^d. The borders are periodic.

    Args:
        layers: number of layers, k = 1 ... layers.
        dimensions: number d of image axes: 2, or 1 for images of a single row.
        filter_size: F; odd without strides, so that a filter has a centre.
        stride: 1, or the size of the filter, so that neighbouring filters do not overlap.
    Returns:
        The network in eval mode, from images (n, 1, H, W) to the maps of the last layer.
    Raises:
        ValueError: a number is out of range.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506.

    >>> net = constant_filters(2, dimensions=1, filter_size=2, stride=2)
    >>> net(torch.tensor([[[[4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0]]]]))
    tensor([[[[1., 2.]]]], grad_fn=<ReluBackward0>)
    """
    _check(layers, dimensions, filter_size, stride)
    found: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, layers + 1):
        found[f"conv{number}"] = _averaging(dimensions, filter_size, stride)
        found[f"relu{number}"] = nn.ReLU()
    return ConstantFilterNet(found).eval()


def _averaging(dimensions: int, filter_size: int, stride: int) -> nn.Conv2d:
    """Return an averaging convolution over rows and columns, or only over columns."""
    size, step = ((one if dimensions == 2 else 1, one) for one in (filter_size, stride))
    padding = (size[0] // 2, size[1] // 2) if stride == 1 else (0, 0)
    # Created on the meta device, so that no random numbers are drawn for the weights.
    conv = nn.Conv2d(
        1, 1, size, stride=step, padding=padding, padding_mode="circular", bias=False, device="meta"
    ).to_empty(device="cpu")
    with torch.no_grad():
        conv.weight.fill_(1 / conv.weight.numel())
    return conv


def _check(layers: int, dimensions: int, filter_size: int, stride: int) -> None:
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions must be 1 (a row) or 2 (a square), got {dimensions!r}.")
    integer("layers", layers)
    integer("filter_size", filter_size, least=2)
    if stride not in (1, filter_size) or (stride == 1 and filter_size % 2 == 0):
        raise ValueError(
            f"stride must be 1 with an odd filter_size, or equal to filter_size; got stride={stride}, "
            f"filter_size={filter_size}."
        )
