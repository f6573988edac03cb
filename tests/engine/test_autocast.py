"""A caller's autocast changes no measurement, and a penalty's forward only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.readers import as_reader


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 5)).eval()


def images():
    return torch.rand(12, 1, 12, 12, generator=torch.Generator().manual_seed(1)) ** 3 + 1


def acted():
    return iv.EquivarianceDeviation(feature_action="vector")


STUDIES = {
    "measure": lambda model, x: iv.measure(
        model, x, iv.QuarterTurns(), measures=["normalized_variance", "cka", "prediction"], progress=False
    ),
    "action": lambda model, x: iv.measure(
        model, x, iv.QuarterTurns(), measures=acted(), layers="0", floor=True, progress=False
    ),
    "callable": lambda model, x: iv.measure(lambda v: model(v), x, iv.Flip(), progress=False),
    "stability_curve": lambda model, x: iv.stability_curve(model, x, radii=2, progress=False),
    "worst_element": lambda model, x: iv.worst_element(model, x, iv.Rotation.circle(4), layers="3"),
    "lie_derivative": lambda model, x: iv.lie_derivative(
        model, x, generators="rotation", precision="float32"
    ),
    "neurons": lambda model, x: iv.neuron_stability(model, "0", x, neurons=2, min_firing=2),
}


@pytest.mark.parametrize("study", STUDIES)
def test_autocast_around_a_study_changes_no_number(study):
    alone = STUDIES[study](network(), images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = STUDIES[study](network(), images())
        assert torch.is_autocast_enabled("cpu")  # it is the caller's own again
    for one, other in ((alone.rows, within.rows), (alone.curve_rows, within.curve_rows)):
        np.testing.assert_array_equal([row["value"] for row in one], [row["value"] for row in other])


@pytest.mark.parametrize("check", [iv.assert_equivariant, iv.assert_invariant])
def test_autocast_around_an_assertion_breaks_nothing(check):
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.AdaptiveAvgPool2d(1)).eval()
    alone = check(pooled, images(), iv.QuarterTurns())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = check(pooled, images(), iv.QuarterTurns())
    assert [layer.worst for layer in within.layers] == [layer.worst for layer in alone.layers]


def test_a_reader_opened_by_hand_is_out_of_it_too():
    reader, kinds = as_reader(network()), []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layers = reader.inspect(images()).layers
        with reader.open() as forward:
            forward(images(), lambda reading: kinds.append(reading.values.dtype))
    assert {info.dtype for info in layers} == {"float32"}
    assert set(kinds) == {torch.float32}


class Cast(nn.Module):
    """Autocast in the forward alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(x)


def test_a_model_s_own_autocast_is_kept():
    own, plain = (STUDIES["measure"](model, images()) for model in (Cast(network()), network()))
    values = [{row["layer"].removeprefix("inner."): row["value"] for row in r.rows} for r in (own, plain)]
    assert values[0]["3"] != values[1]["3"]
    assert values[0]["3"] == pytest.approx(values[1]["3"], rel=0.05)


@pytest.mark.parametrize(
    "penalty",
    [
        iv.penalties.NormalizedVariance(iv.QuarterTurns(), layers="*0"),
        iv.penalties.Stability(iv.Rotation.circle(4), layers="*3"),
        iv.penalties.EquivarianceDeviation(
            iv.QuarterTurns(), feature_action="vector", layers="*0", distance="l2"
        ),
    ],
)
def test_autocast_around_a_penalty_is_autocast_around_its_forward_and_not_its_formula(penalty):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        around = penalty(network(), images(), step=0)
    inside, exact = penalty(Cast(network()), images(), step=0), penalty(network(), images(), step=0)
    assert around.item() == inside.item()
    assert around.item() != exact.item()
    assert around.item() == pytest.approx(exact.item(), rel=0.1)
