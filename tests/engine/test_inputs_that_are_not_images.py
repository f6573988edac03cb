"""Inputs that are not images: vectors, sequences, tokens and complex numbers, from measurement to report."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv

pytestmark = pytest.mark.usefixtures("seeded")


class Magnitude(nn.Module):
    """A linear layer of sequences of any dtype."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x):
        return self.linear(x.abs().float().flatten(1))


NUMBERS = torch.linspace(0, 9, 240).sin().reshape(20, 6, 2)
INPUTS = {
    "vectors": NUMBERS[..., 0],
    "sequences": NUMBERS[:, :3],
    "tokens": torch.arange(120).reshape(20, 6) % 7,
    "complex": torch.view_as_complex(NUMBERS),
}


@pytest.mark.parametrize("inputs", list(INPUTS.values()), ids=list(INPUTS))
def test_a_report_shows_no_pictures_of_what_is_not_an_image(inputs, tmp_path):
    turned = iv.Elements([lambda x: x, lambda x: x.flip(1)])
    result = iv.measure(Magnitude(), inputs, turned, progress=False)
    assert result.examples == {}
    page = result.report(tmp_path / "page.html")
    assert "Inputs of the network" not in page.read_text()
