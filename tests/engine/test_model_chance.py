"""Models that draw random numbers in their forward: what their own randomness causes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv

SHIFTS = [torch.clone, lambda x: x.roll(2, -2), lambda x: x.roll(3, -1)]
NOISE = 0.05


class Sampler(nn.Module):
    """A circular convolution with noise; if it is broken, its head sees part of the image only."""

    def __init__(self, seed: int, *, broken: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.head = nn.Conv2d(1, 6, 3, padding=1, padding_mode="circular"), nn.Linear(6, 3)
        self.broken = broken

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x).relu()
        maps = maps + NOISE * torch.randn_like(maps)
        return self.head(maps[:, :, :4].mean((2, 3)) if self.broken else maps.mean((2, 3)))


def images(count: int = 80) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("broken", [False, True])
def test_chance_is_told_apart_from_broken_symmetry_in_planted_networks(seed, broken):
    model = Sampler(seed, broken=broken)
    result = iv.measure(model, images(), SHIFTS, layers=["head"], repeats=8, progress=False)
    (row,) = result.rows
    assert row.chance > 0.001
    assert (row.ci_low > row.chance) == broken


def test_the_chance_of_independent_noise_is_its_variance():
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.5 * torch.randn_like(x)

    x = torch.zeros(256, 4)
    given = {"measures": "transformation_variance", "progress": False, "layers": ["Noisy"]}
    (row,) = iv.measure(Noisy(), x, [torch.clone, lambda v: v + 0.0], repeats=16, **given).rows
    assert row.chance == pytest.approx(0.25, rel=0.05)


def test_a_model_without_chance_has_none_and_repeats_must_be_counted():
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    given = {"transform": [torch.clone, torch.neg], "data": torch.arange(32.0).view(8, 4), "progress": False}
    (row,) = iv.measure(model, repeats=2, **given).rows
    assert row.chance == 0
    assert "chance" not in iv.measure(model, **given).rows[0]
    with pytest.raises(ValueError, match="repeats"):
        iv.measure(model, repeats=0, **given)


def test_a_model_that_draws_is_refused_without_repeats():
    with pytest.raises(ValueError, match="repeats=8"):
        iv.measure(Sampler(0, broken=False), images(), SHIFTS, progress=False)
