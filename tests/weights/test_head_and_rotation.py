"""What the head listens to, and what the second layer couples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from invariscope.lab.weights.chance import against_permutations, correlation
from invariscope.weights import head_frequency_correlation, rotation_coupling, rotation_excess
from invariscope.zoo import build

pytestmark = pytest.mark.usefixtures("seeded")

RNG = np.random.default_rng(0)
SMOOTH, ROUGH = torch.ones(3, 3), torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])


def planted(sign: float, places: int = 1) -> nn.Module:
    """Channel c is smooth by 1 − c/7, and the head's weight on it is 1 + sign · c/7."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * places, 2))
    part = torch.arange(8) / 7
    with torch.no_grad():
        model[0].weight[:, 0] = (1 - part)[:, None, None] * SMOOTH + part[:, None, None] * ROUGH / 2
        model[3].weight.copy_((1 + sign * part / 2).repeat_interleave(places).expand(2, -1))
    return model


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("places", [1, 4])
def test_the_head_that_prefers_smooth_channels_has_a_negative_correlation(sign, places):
    found = head_frequency_correlation(planted(sign, places))
    part = np.arange(8) / 7
    # 9 and 36/4 are the squared norms: the power lies at λ = 0 and λ = 6.
    frequency = 6 * part**2 / (part**2 + (1 - part) ** 2)
    np.testing.assert_allclose(found.mean_frequency, frequency, atol=1e-6)
    np.testing.assert_allclose(found.head_norm, np.sqrt(2 * places) * (1 + sign * part / 2), rtol=1e-6)
    assert found.correlation == pytest.approx(sign * np.corrcoef(part, frequency)[0, 1], abs=1e-6)
    assert found.p_value < 0.005
    assert list(found.table.columns) == ["channel", "mean_frequency", "head_norm"]


def test_input_channels_and_places_count_with_their_power():
    model = nn.Sequential(nn.Conv2d(2, 1, 3), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.stack([2 * SMOOTH, ROUGH])[None])
    found = head_frequency_correlation(model)
    assert found.mean_frequency.tolist() == pytest.approx([6 * 36 / (36 + 36)])
    assert np.isnan(found.correlation)
    local = build("min_lcn", input_shape=(1, 4, 4), filters=3, kernel_size=3)
    assert len(head_frequency_correlation(local).mean_frequency) == 3


def test_p_values_of_random_networks_are_spread_evenly():
    p_values = [
        head_frequency_correlation(
            build("min_cnn", filters=16, kernel_size=3, seed=seed), permutations=99
        ).p_value
        for seed in range(60)
    ]
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) <= 0.1) < 0.25


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            build("simple_conv", filters=2),
            {},
            r"SimpleConv has 2 linear layers \('fc1', 'fc2'\): use head=",
        ),
        (
            build("simple_conv", filters=2, fc=9),
            {"head": "fc2"},
            r"'fc2' reads 9 values, which is not a multiple of the 8",
        ),
        (build("min_cnn", filters=2), {"head": "fx"}, r"unknown linear layer 'fx'. Closest: 'fc'"),
        (build("all_conv", filters=2), {}, r"AllConv has 0 linear layers \(none\)"),
        (build("fully_connected"), {}, r"FullyConnected has no two-dimensional convolution"),
        (build("min_cnn", filters=2), {"permutations": 0}, r"permutations must be at least 1, got 0"),
    ],
)
def test_a_head_that_reads_no_channels_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        head_frequency_correlation(model, **options)


def test_the_p_value_counts_permutations_that_lie_as_far_as_the_value():
    a = np.arange(4.0)
    found = against_permutations(lambda order: correlation(a, a[order]), 4, permutations=4000, seed=0)
    # Of 24 orders the identity alone reaches 1, and the p-value has two sides.
    assert found.value == pytest.approx(1)
    assert found.p_value == pytest.approx(2 / 24, abs=0.015)
    assert found.mean == pytest.approx(0, abs=0.03)
    assert found.deviation == pytest.approx(1 / np.sqrt(3), abs=0.03)
    assert found.z == pytest.approx(np.sqrt(3), abs=0.15)


def test_the_excess_by_hand():
    edge = np.array([[1.0, 0, -1]] * 3)
    blob = np.outer([1, 2, 1], [1, 2, 1]).astype(float)
    filters = np.stack([edge, edge.T, -edge, blob, 0 * blob])[:, None]
    excess = rotation_excess(filters, angles=4)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = expected[1, 2] = expected[2, 1] = 1  # orthogonal, but a quarter turn
    expected[0, 2] = expected[2, 0] = 2  # opposite, but half a turn
    np.testing.assert_allclose(excess, expected, atol=1e-12)


def test_more_angles_find_rotations_between_the_quarter_turns():
    y, x = np.mgrid[-4:5, -4:5]
    window = np.exp(-(x**2 + y**2) / 8)
    along, diagonal = window * np.sin(x), window * np.sin((x + y) / np.sqrt(2))
    filters = np.stack([along, diagonal])[:, None]
    quarter, eighth = (rotation_excess(filters, angles=angles)[0, 1] for angles in (4, 8))
    plain = (along * diagonal).sum() / (np.linalg.norm(along) * np.linalg.norm(diagonal))
    assert quarter < 0.01
    assert 1 - plain - 0.02 < eighth <= 1 - plain + 1e-9


@pytest.mark.parametrize("angles", [4, 8])
def test_pooling_over_orbits_is_found_where_it_was_planted(angles):
    model = build("orbit_pooling", input_shape=(3, 12, 12), orbits=6)
    found = rotation_coupling(model, angles=angles)
    assert found.correlation > 0.6
    assert found.z > 8
    assert found.p_value == pytest.approx(0.002)
    same = np.arange(24)[:, None] // 4 == np.arange(24)[None, :] // 4
    np.testing.assert_allclose(found.coupling[same], 1, atol=1e-6)
    np.testing.assert_allclose(found.coupling[~same], -1 / 5, atol=1e-6)


def test_random_weights_and_pooling_over_the_wrong_filters_show_nothing():
    found = [
        rotation_coupling(build("simple_conv", filters=16, seed=seed), permutations=199) for seed in range(8)
    ]
    z = np.array([one.z for one in found])
    assert np.abs(z).max() < 4
    assert abs(z.mean()) < 1.2
    model = build("orbit_pooling", orbits=8)
    with torch.no_grad():
        model.conv2.weight.copy_(
            model.conv2.weight[:, torch.randperm(32, generator=torch.Generator().manual_seed(1))]
        )
    assert abs(rotation_coupling(model).z) < 4


def test_a_head_that_reads_rotated_filters_alike_is_found():
    planted = build("orbit_pooling", input_shape=(1, 12, 12), orbits=6)
    model = nn.Sequential(nn.Conv2d(1, 24, planted.conv1.kernel_size), nn.Flatten(), nn.Linear(24, 10))
    with torch.no_grad():
        model[0].weight.copy_(planted.conv1.weight)
        model[2].weight.copy_(torch.randn(10, 6).repeat_interleave(4, dim=1))
    found = rotation_coupling(model, second="2", angles=4)
    assert (found.first, found.second) == ("0", "2")
    same = np.arange(24)[:, None] // 4 == np.arange(24)[None, :] // 4
    np.testing.assert_allclose(found.coupling[same], 1, atol=1e-6)
    assert found.z > 5
    assert rotation_coupling(model.state_dict(), second="2", angles=4).z == found.z
    with torch.no_grad():
        model[2].weight.normal_()
    assert abs(rotation_coupling(model, second="2", angles=4).z) < 4


def test_a_head_with_several_inputs_per_filter_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(ValueError, match=r"'2' reads 16 channels, but '0' has 4"):
        rotation_coupling(model, second="2")


def test_the_order_of_the_filters_does_not_matter():
    model = build("orbit_pooling", orbits=5)
    before = rotation_coupling(model).correlation
    order = torch.from_numpy(RNG.permutation(20))
    with torch.no_grad():
        model.conv1.weight.copy_(model.conv1.weight[order])
        model.conv2.weight.copy_(model.conv2.weight[:, order])
    assert rotation_coupling(model).correlation == pytest.approx(before)


torch.manual_seed(0)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (build("min_cnn", filters=2), {}, r"no convolution follows 'conv'; found 'conv'"),
        (build("simple_conv", filters=2), {"second": "conv5"}, "'conv5' reads 4 channels, but 'conv1' has 2"),
        (
            build("simple_conv", filters=2),
            {"angles": 1},
            r"angles must be at least 2, including 0 degrees; got 1",
        ),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 3)), {}, r"'0' has filters of 1 x 1: only square"),
        (nn.Sequential(nn.Conv2d(1, 2, (3, 5)), nn.Conv2d(2, 2, 3)), {}, r"filters of 3 x 5"),
    ],
)
def test_layers_that_cannot_be_coupled_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        rotation_coupling(model, **options)


def test_the_planted_network_is_invariant_to_quarter_turns_until_its_weights_are_drawn_anew():
    x = torch.rand(3, 1, 12, 12, dtype=torch.float64)
    model = build("orbit_pooling", input_shape=(1, 12, 12)).double()
    turned = x.rot90(dims=(2, 3))
    torch.testing.assert_close(model(turned), model(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model[:4](turned), model[:4](x).rot90(dims=(2, 3)), rtol=1e-10, atol=1e-12)
    torch.manual_seed(0)
    model.conv1.reset_parameters()
    assert (model(turned) - model(x)).abs().max() > 1e-4
