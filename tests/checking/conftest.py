"""A network that is equivariant to quarter turns, and the same with one wrong weight tie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invariscope.zoo import build
from invariscope.zoo.networks.c4_conv import TURNS, TurnedConv


class Slipped(TurnedConv):
    """One of the four orientations of each filter is turned once too often."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (sample, 4 fields, H, W)."""
        turns = [0, 1, 3, 3]
        turned = [self.weight.roll(g % self.slices, 2).rot90(turns[g], (3, 4)) for g in range(TURNS)]
        filters = torch.stack(turned, dim=1).flatten(0, 1).flatten(1, 2)
        return F.conv2d(x, filters, self.bias.repeat_interleave(TURNS), padding=self.weight.shape[-1] // 2)


@pytest.fixture
def c4() -> Callable[..., nn.Module]:
    """Makes a small one; `slipped` names the layer with the wrong tie."""

    def make(slipped: str = "") -> nn.Module:
        model = build("c4_conv", input_shape=(1, 12, 12), classes=5, fields=2)
        if slipped:
            getattr(model, slipped).__class__ = Slipped
        return model

    return make


@pytest.fixture(scope="session")
def images() -> Tensor:
    """24 images (1, 12, 12) of noise."""
    return torch.randn(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
