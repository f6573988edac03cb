"""A network whose convolutions read the wrong channels."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from invariscope.common.draws import Stream, numpy_generator

M = TypeVar("M", bound=nn.Module)


def shuffled_channels(model: M, *, seed: int) -> M:
    """A copy in which the input channels of every convolution are permuted, each layer's in its own way.

    .. math:: w'_{o, c} = w_{o, \\pi(c)}

    Each filter stays as it is, so spatial pooling survives. Which channels a layer adds up is left to
    chance, so what was learned about adding up channels does not. Compare the stability D of both: a rise
    says how much of it was due to channels.

    Of a convolution in groups the channels are permuted within each group; a layer with one input channel
    in each group stays as it is.

    Caveats: running statistics of normalisation layers still are those of the unshuffled network. And the
    first layer's channels, the colours, are exchanged too.

    Args:
        model: with one-, two- or three-dimensional convolutions; untouched.
        seed: of the permutations.
    Raises:
        ValueError: no convolution with several input channels, or weights computed from other parameters.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, section on channel pooling.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(4, 2, 3))
    >>> sums = [m[0].weight.sum((0, 2, 3)).sort().values for m in (model, shuffled_channels(model, seed=1))]
    >>> torch.equal(*sums)
    True
    """
    shuffled = copy.deepcopy(model)
    generator = numpy_generator(seed, Stream.CHANNEL_ORDER)
    found = 0
    seen: set[int] = set()  # a weight that two layers share is permuted once
    for name, module in shuffled.named_modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.weight.shape[1] > 1:
            _refuse_computed(name, module)
            if id(module.weight) not in seen:
                seen.add(id(module.weight))
                _permute(module.weight, module.groups, generator)
            found += 1
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no convolution with several input channels: nothing to shuffle."
        )
    return shuffled


def _permute(weight: Tensor, groups: int, generator: np.random.Generator) -> None:
    """Changes (out, in / groups, ...) in place; the outputs of a group read the same permuted channels."""
    with torch.no_grad():
        for part in weight.chunk(groups):
            order = torch.from_numpy(generator.permutation(weight.shape[1]))
            part.copy_(part[:, order.to(weight.device)].clone())


def _refuse_computed(name: str, module: nn.Module) -> None:
    old = any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in _forward_hooks(module))
    if old or parametrize.is_parametrized(module, "weight"):
        raise ValueError(
            f"the weight of {name!r} is computed from other parameters (weight or spectral normalisation): "
            "remove the parametrisation first."
        )


def _forward_hooks(module: nn.Module) -> list[object]:
    return list(module._forward_pre_hooks.values())
