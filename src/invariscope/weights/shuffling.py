"""Networks whose convolutions read their input channels in random order."""

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
    """Return a copy with randomly permuted input channels in every convolution.

    .. math:: w'_{o, c} = w_{o, \\pi(c)}

    with a permutation π per layer. Filters do not change, so spatial pooling survives; the learned
    combination of channels does not. Compare the stability D of both networks: the increase shows how much of
    the stability was due to channels.

    Channels of a grouped convolution are permuted within each group; a layer with one input channel per group
    does not change.

    Caveats: running statistics of normalisation layers remain those of the original network. The input
    channels of the first layer (the colours) are permuted too.

    Args:
        model: a network with one-, two- or three-dimensional convolutions; it is not changed.
        seed: seed of the permutations.
    Raises:
        ValueError: no convolution has several input channels, or weights are computed from other parameters.

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
            f"{type(model).__name__} has no convolution with several input channels, so there is nothing to "
            "shuffle."
        )
    return shuffled


def _permute(weight: Tensor, groups: int, generator: np.random.Generator) -> None:
    """Permute the weights (out, in / groups, ...) in place, in the same way for all outputs of a group."""
    with torch.no_grad():
        for part in weight.chunk(groups):
            order = torch.from_numpy(generator.permutation(weight.shape[1]))
            part.copy_(part[:, order.to(weight.device)].clone())


def _refuse_computed(name: str, module: nn.Module) -> None:
    hooks = module._forward_pre_hooks.values()
    hooked = any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in hooks)
    if hooked or parametrize.is_parametrized(module, "weight"):
        raise ValueError(
            f"the weight of {name!r} is computed from other parameters (weight or spectral normalisation): "
            "remove the parametrisation first."
        )
