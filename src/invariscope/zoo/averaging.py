"""The exponential moving average of a network's weights over training steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of all weights and running statistics.

    .. math:: \\bar w_{t+1} = d_t \\bar w_t + (1 - d_t) w_{t+1}, \\quad d_t = \\min(d, (1 + t) / (10 + t))

    after step t = 0, 1, ... Early in training, the average covers only about the last tenth of the steps so
    far, so the initial weights soon have no effect. Running statistics of batch normalisation are averaged in
    the same way; integers, such as batch counts, are not.

    Args:
        model: the model whose weights are averaged.
        decay: d, below 1.

    Source:
        Polyak and Juditsky 1992, doi:10.1137/0330046; the rising decay as in TensorFlow's
        ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.values = {name: value.clone() for name, value in self._own()}

    def _own(self) -> list[tuple[str, Tensor]]:
        state = self._model.state_dict()
        return [(name, value) for name, value in state.items() if value.is_floating_point()]

    def update(self, step: int) -> None:
        """Update the average with the model's weights after this step, counted from 0."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self._own():
                self.values[name].lerp_(value, share)

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Restore the averages of an interrupted training run."""
        for name, value in self.values.items():
            value.copy_(values[name])

    def put_in(self) -> None:
        """Copy the averaged weights to the model."""
        with torch.no_grad():
            for name, value in self._own():
                value.copy_(self.values[name])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Use the averaged weights in the model within the block."""
        own = [(value, value.clone()) for _, value in self._own()]
        self.put_in()
        try:
            yield
        finally:
            with torch.no_grad():
                for value, before in own:
                    value.copy_(before)
