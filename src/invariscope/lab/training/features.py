"""A classifier's features, what enters its last linear layer, seen through layers of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.zoo.fitting import Training, fit
from invariscope.zoo.objectives import Objective
from invariscope.zoo.train_config import TrainConfig
from invariscope.zoo.trainable import last_linear


class Features(nn.Module):
    """What enters the last linear layer of a classifier, through further layers.

    Args:
        model: a classifier with a linear layer at its end.
        further: from the number of features to the layers that follow.
        seed: of their initial weights.
        purpose: what the features are for, for the message where there is no linear layer.
    """

    def __init__(
        self, model: nn.Module, further: Callable[[int], nn.Module], *, seed: int, purpose: str
    ) -> None:
        super().__init__()
        self.head = last_linear(model, purpose, instead="take a network with one")
        self.model = model
        width = model.get_submodule(self.head).in_features
        assert isinstance(width, int)
        device = next(model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.further = further(width).to(device)

    def fit(
        self, data: Any, objective: Objective, config: TrainConfig, described: dict[str, Any], **options: Any
    ) -> Training:
        """Train all parameters but those of the last linear layer, through which nothing flows.

        Args:
            data, objective, config, described, options: as `zoo.fitting.fit` takes them.
        """
        head = {f"model.{self.head}.{part}" for part in ("weight", "bias")}
        chosen = frozenset(name for name, _ in self.named_parameters() if name not in head)
        return fit(self, data, objective, config, chosen=chosen, described=described, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(sample, values)."""
        entered: list[Tensor] = []
        layer = self.model.get_submodule(self.head)
        hook = layer.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
        try:
            self.model(x)
        finally:
            hook.remove()
        return self.further(entered[-1])
