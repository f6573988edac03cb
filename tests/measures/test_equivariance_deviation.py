"""Equivariance deviation of networks with known answers."""

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv

IMAGES = torch.randn(30, 3, 9, 9, generator=torch.Generator().manual_seed(0))


class Pointwise(nn.Module):
    """1×1 convolutions and a mean over positions: exactly equivariant maps, exactly invariant outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.head = nn.Conv2d(3, 5, 1), nn.Linear(5, 4)

    def forward(self, x):
        return self.head(torch.relu(self.mix(x)).mean((2, 3)))


def deviation(model, transform=None, **options):
    measures = [iv.EquivarianceDeviation(kind=kind) for kind in ("latent", "channelwise", "output")]
    transform = iv.QuarterTurns() if transform is None else transform
    return iv.measure(model, IMAGES, transform, measures=measures, progress=False, **options)


def value(result, measure, layer):
    table = result.table.set_index(["measure", "layer"])
    return table.loc[(measure, layer), "value"]


def test_an_equivariant_network_is_perfect_where_its_action_is_judged():
    result = deviation(Pointwise())
    assert value(result, "equivariance_deviation.channelwise", "mix") == pytest.approx(-1, abs=1e-6)
    assert value(result, "equivariance_deviation.channelwise.to_null", "mix") < 1e-5
    assert value(result, "equivariance_deviation.latent", "head") == pytest.approx(-1, abs=1e-6)
    assert value(result, "equivariance_deviation.output", "output") == pytest.approx(0, abs=1e-9)


def test_a_kernel_that_points_somewhere_is_found_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(405, 4))
    result = deviation(model)
    assert value(result, "equivariance_deviation.channelwise", "0") > -0.9
    assert value(result, "equivariance_deviation.channelwise.to_null", "0") > 0.2


def test_raw_cosines_flatter_a_network_with_a_large_bias_and_the_null_tells():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(243, 50))
    with torch.no_grad():
        model[1].bias.fill_(20.0)
    result = deviation_of_kind(model, "latent")
    assert value(result, "equivariance_deviation.latent", "1") < -0.99
    assert 0.5 < value(result, "equivariance_deviation.latent.to_null", "1") < 1


def deviation_of_kind(model, kind):
    measure = iv.EquivarianceDeviation(kind=kind)
    return iv.measure(model, IMAGES, iv.QuarterTurns(), measures=[measure], progress=False)


def test_flat_layers_are_listed_as_skipped_for_channels_and_measured_for_vectors():
    result = deviation(Pointwise())
    reasons = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert "feature maps" in reasons["head"]
    assert np.isfinite(value(result, "equivariance_deviation.latent", "head"))


def test_one_value_an_element_stands_in_the_curves():
    curves = deviation(Pointwise()).curves
    own = curves[(curves.measure == "equivariance_deviation.latent.by_element") & (curves.layer == "head")]
    assert own.label.tolist() == ["0°", "90°", "180°", "270°"]
    np.testing.assert_allclose(own.value, -1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 6, 1000])
def test_pairs_and_values_do_not_depend_on_the_batches(size):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(196, 4))
    together = deviation(model, batch_size=7).table
    alone = deviation(model, batch_size=size).table
    np.testing.assert_allclose(alone.value, together.value, rtol=1e-5)
    np.testing.assert_allclose(alone.null, together.null, rtol=1e-5)


def test_a_zero_response_is_left_out_and_counted():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, 1.0]))
    table = deviation_of_kind(model, "channelwise").table
    rows = table[table.measure == "equivariance_deviation.channelwise"].set_index("layer")
    assert rows["undefined"].to_dict() == {"0": 0, "1": 30 * 4}
    assert rows.loc["1", "value"] == pytest.approx(-1)


@pytest.mark.parametrize(
    "options", [{"kind": "laten"}, {"distance": "kl"}, {"distance": "cos"}, {"reference": "twirl"}]
)
def test_what_does_not_exist_or_does_not_go_together_is_refused(options):
    with pytest.raises(ValueError, match=r"unknown|supports the distances|trivial action"):
        iv.EquivarianceDeviation(**options)


def test_several_distances_stand_side_by_side_in_one_run_and_agree_with_runs_of_their_own():
    several = [iv.EquivarianceDeviation(distance=distance) for distance in ("cosine", "l2", "squared_l2")]
    both = iv.measure(Pointwise(), IMAGES, iv.QuarterTurns(), measures=several, progress=False)
    own = iv.measure(Pointwise(), IMAGES, iv.QuarterTurns(), measures=several[1], progress=False)
    for name in ("equivariance_deviation.latent_l2", "equivariance_deviation.latent_l2.to_null"):
        assert value(both, name, "mix") == value(own, name, "mix") > 0
    assert value(both, "equivariance_deviation.latent", "mix") < 0
    with pytest.raises(ValueError, match="requested 2 times"):
        iv.measure(Pointwise(), IMAGES, iv.QuarterTurns(), measures=[several[0], several[0]], progress=False)


@pytest.mark.usefixtures("seeded")
def test_one_output_has_no_probabilities():
    model = nn.Sequential(nn.Flatten(), nn.Linear(243, 1))
    with pytest.raises(ValueError, match="one output per class; the model has a single output"):
        iv.measure(
            model, IMAGES, iv.QuarterTurns(), measures=iv.EquivarianceDeviation(kind="output"), progress=False
        )
