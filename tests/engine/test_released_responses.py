"""Responses are released as soon as they are reduced, without the garbage collector."""

import gc
import weakref
from typing import ClassVar

import pytest
import torch
from torch import nn

import invariscope as iv

LAYERS = 8
OF_OUTPUTS = {"prediction", "consistency", "equivariance_psnr"}
MEASURES = sorted(set(iv.list_measures()) - OF_OUTPUTS)


@pytest.fixture
def without_collector():
    gc.disable()
    yield
    gc.enable()


class Watched(nn.Module):
    """Convolutions that count, at the end of each forward pass, how many of their outputs still exist."""

    alive: ClassVar = []  # shared with the copies that measurements make of a model

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(LAYERS))

    def forward(self, x):
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(weakref.ref(x))
        self.alive.append(sum(output() is not None for output in outputs))
        return x.mean((2, 3))


@pytest.mark.parametrize("units", ["all", 8])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.usefixtures("without_collector")
def test_a_layer_is_released_before_the_network_ends(measure, units):
    torch.manual_seed(0)
    model, data = Watched().eval(), (torch.rand(32, 3, 4, 4), torch.arange(32) % 3)
    Watched.alive.clear()
    iv.measure(model, data, iv.QuarterTurns(), measures=measure, batch_size=16, units=units, progress=False)
    assert max(Watched.alive[-4:]) <= 3
