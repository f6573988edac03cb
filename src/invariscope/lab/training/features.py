"""The features of a classifier (the input of its last linear layer), passed through further layers."""

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
    """The input of a classifier's last linear layer, passed through further layers.

    Args:
        model: a classifier that ends with a linear layer.
        further: function that builds the further layers, given the number of features.
        seed: seed of their initial weights.
        purpose: why the features are needed, for the error message if there is no linear layer.
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
        """Train all parameters except those of the last linear layer, whose output is not used.

        Args:
            data, objective, config, described, options: as in `zoo.fitting.fit`.
        """
        head = {f"model.{self.head}.{part}" for part in ("weight", "bias")}
        chosen = frozenset(name for name, _ in self.named_parameters() if name not in head)
        return fit(self, data, objective, config, chosen=chosen, described=described, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Return (sample, value) outputs of the further layers."""
        entered: list[Tensor] = []
        layer = self.model.get_submodule(self.head)
        hook = layer.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
        try:
            self.model(x)
        finally:
            hook.remove()
        return self.further(entered[-1])
