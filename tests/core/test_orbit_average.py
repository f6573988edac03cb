"""The mean over an orbit: an invariant network made of any other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv

IMAGES = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).double()


@pytest.mark.parametrize("group", [iv.QuarterTurns(), iv.Dihedral(), iv.Flip()])
def test_averaging_over_a_group_is_exactly_invariant_and_the_model_itself_is_not(group):
    x = IMAGES.double()
    for model, invariant in ((iv.OrbitAverage(net(), group), True), (net(), False)):
        outputs = torch.stack([model(moved).detach() for moved in group.orbit(x).unbind(1)])
        spread = float((outputs - outputs[0]).abs().max())
        assert (spread < 1e-14) == invariant
        assert (spread > 1e-2) == (not invariant)


def test_elements_that_are_not_a_group_give_no_invariance():
    model = iv.OrbitAverage(net(), [lambda x: x, lambda x: torch.rot90(x, 1, (2, 3))])
    x = IMAGES.double()
    assert not torch.allclose(model(torch.rot90(x, 1, (2, 3))), model(x), atol=1e-3)


def test_the_mean_is_that_of_the_models_outputs_for_each_sample():
    turns, model, x = iv.QuarterTurns(), net(), IMAGES[:3].double()
    expected = [sum(model(torch.rot90(sample[None], k, (2, 3))) for k in range(4)) / 4 for sample in x]
    assert torch.allclose(iv.OrbitAverage(model, turns)(x), torch.cat(expected), atol=1e-12)


def test_gradients_reach_the_model_that_is_averaged():
    model = iv.OrbitAverage(net(), iv.QuarterTurns())
    model(IMAGES[:2].double()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.model.parameters())


def test_an_invariant_network_may_have_a_first_part_that_is_not():
    """Kvinge et al. 2022, proposition 3.1: invariance of the whole says nothing about its parts."""
    torch.manual_seed(0)
    whole = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    measures = ["normalized_variance", "worst_element"]
    how = {"measures": measures, "progress": False, "rows": "all"}
    result = iv.measure(whole.double(), IMAGES.double(), iv.QuarterTurns(), **how)
    values = result.table.set_index(["measure", "layer"])["value"]
    for layer in ("2", "3", "4"):
        assert values["normalized_variance", layer] < 1e-20
        assert values["worst_element", layer] < 1e-12
    for layer in ("0", "1"):
        assert values["normalized_variance", layer] > 0.5
        assert values["worst_element", layer] > 0.5


def test_measures_of_the_output_find_it_perfect():
    model = iv.OrbitAverage(net(), iv.QuarterTurns())
    data = IMAGES.double(), torch.arange(64) % 5
    measures = ["consistency", "prediction", "twirl"]
    table = iv.measure(model, data, iv.QuarterTurns(), measures=measures, progress=False).table
    values = table.set_index("measure")["value"]
    assert values["consistency"] == 1
    assert values["prediction.flips"] == 0
    assert values["twirl"] == pytest.approx(0, abs=1e-20)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(TypeError, match="got function"):
        iv.OrbitAverage(lambda x: x, iv.QuarterTurns())
    with pytest.raises(ValueError, match="per sample"):
        iv.OrbitAverage(net(), iv.Rotation([0, 90], jitter_deg=1))
    with pytest.raises(TypeError, match="returns a tuple"):
        iv.OrbitAverage(Pair(), iv.QuarterTurns())(IMAGES)


class Pair(nn.Module):
    """Two outputs."""

    def forward(self, x):
        return x, x
