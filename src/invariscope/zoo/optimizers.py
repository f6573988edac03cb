"""The optimizers of training runs, and which parameters are subject to weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from invariscope.zoo.train_config import TrainConfig

MOMENTUM = 0.9


def make_optimizer(settings: TrainConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return Adam, or SGD with Nesterov momentum 0.9, over the parameters.

    Weight decay applies to parameters with two or more axes: the weights of convolutions and linear layers.
    Biases, and the scales and shifts of normalisation layers, have one axis and do not decay.

    Args:
        settings: settings with the optimizer's name, learning rate and weight decay.
        parameters: the parameters to train.

    Source:
        Kingma and Ba 2015, arXiv:1412.6980; Sutskever et al. 2013, PMLR 28(3):1139.
    """
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.lr)
    groups = _decayed_groups(parameters, settings.weight_decay)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=MOMENTUM, nesterov=True)


def _decayed_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups with and without decay; empty groups are left out."""
    decayed = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    pairs = ((decayed, weight_decay), (others, 0.0))
    return [{"params": group, "weight_decay": decay} for group, decay in pairs if group]
