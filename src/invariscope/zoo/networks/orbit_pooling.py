"""A network that pools over the orbit of each of its filters, by construction."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from invariscope.zoo.networks.base import chosen_width, network, odd_kernel

TURNS = 4


class OrbitPooling(nn.Sequential):
    """Filters in four orientations, and a second layer that averages over the orientations of each filter.

        conv1 relu1                    (4 orbits, 28, 28): channel 4 i + t is filter i after t quarter turns
        conv2 of 1x1, relu2            (orbits, 28, 28): the mean over the four turns of one filter
        pool flatten                   (orbits,)
        fc log_softmax                 (classes,)

    Initially, on square images, conv2 is equivariant to quarter turns, and all layers from pool on are
    invariant. Training may change that.

    Source:
        Poggio and Anselmi 2016, Visual Cortex and Deep Networks, MIT Press; Anselmi et al. 2013,
        arXiv:1311.4158: simple cells that are rotations of a template, and complex cells that pool them.
    """


@network
def orbit_pooling(
    input_shape: tuple[int, ...], classes: int, *, orbits: int = 8, kernel_size: int = 5
) -> nn.Module:
    """Eight random 5 x 5 filters with their rotations: a hierarchy that pools over orbits.

    A control: measures of rotation invariance and of rotation coupling must detect this structure. Random
    weights of the same architecture, as drawn by `baseline="random"`, do not have it.

    Args:
        input_shape: (C, H, W).
        classes: number of classes.
        orbits: number of different filters, each in four orientations.
        kernel_size: size of the filters, odd; the image keeps its size.

    Source:
        Anselmi et al. 2013, arXiv:1311.4158.

    >>> from invariscope.zoo.networks import build
    >>> _ = torch.manual_seed(0)
    >>> model, x = build("orbit_pooling").double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    >>> torch.allclose(model(x), model(x.rot90(dims=(2, 3))))
    True
    """
    orbits = chosen_width("orbits", orbits, input_shape, 8, 8)
    size = odd_kernel(kernel_size)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = first = nn.Conv2d(input_shape[0], TURNS * orbits, size, padding=size // 2)
    layers["relu1"] = nn.ReLU()
    layers["conv2"] = second = nn.Conv2d(TURNS * orbits, orbits, 1)
    layers |= {"relu2": nn.ReLU(), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    layers["fc"] = nn.Linear(orbits, classes)
    layers["log_softmax"] = nn.LogSoftmax(dim=1)
    with torch.no_grad():
        first.weight.copy_(_all_turns(first.weight[::TURNS]))
        assert first.bias is not None
        first.bias.copy_(first.bias[::TURNS].repeat_interleave(TURNS))
        second.weight.copy_(torch.eye(orbits).repeat_interleave(TURNS, dim=1)[..., None, None] / TURNS)
    return OrbitPooling(layers)


def _all_turns(filters: Tensor) -> Tensor:
    """Return each filter after 0, 1, 2 and 3 quarter turns, (4 filters, in, k, k)."""
    return torch.stack([filters.rot90(turn, dims=(2, 3)) for turn in range(TURNS)], dim=1).flatten(0, 1)
