"""A default device of the caller's reaches the model and the elements, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv

pytestmark = pytest.mark.usefixtures("seeded")

IMAGES = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Notes where it would make tensors."""

    def __init__(self):
        super().__init__()
        self.conv, self.devices = nn.Conv2d(1, 2, 3), []

    def forward(self, x):
        self.devices.append(torch.zeros(1).device.type)
        return self.conv(x).flatten(1)


def test_numbers_do_not_depend_on_the_default_device():
    seen = []

    def turned(x):
        seen.append(torch.zeros(1).device.type)
        return x.rot90(1, (2, 3))

    model, elements = Net(), [lambda x: x, turned]
    measures = ["normalized_variance", "stability", "cka", "information"]
    options = {"measures": measures, "baseline": "random", "draws": 2, "progress": False}
    before = iv.measure(model, IMAGES, elements, **options)
    assert set(seen) == {"cpu"}
    seen.clear()
    with torch.device("meta"):  # stands for "cuda": tensors that are made there cannot be used here
        after = iv.measure(model, IMAGES, elements, **options)
        with pytest.raises(iv.SymmetryError):
            iv.assert_invariant(model, IMAGES, iv.QuarterTurns())
        assert torch.zeros(1).is_meta
    assert set(seen) == {"meta"}
    np.testing.assert_array_equal(after.table["value"], before.table["value"])
    np.testing.assert_array_equal(after.baseline["mean"], before.baseline["mean"])


def test_the_model_keeps_the_callers_default_device():
    model, seen = Net(), []

    def answers(x):
        seen.append(torch.zeros(1).device.type)
        return {"a": model(x).detach()}

    with torch.device("meta"):
        iv.measure(answers, IMAGES, iv.QuarterTurns(), progress=False)
    assert set(seen) == {"meta"}
