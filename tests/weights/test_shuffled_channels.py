"""Permuted input channels of every convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from invariscope.weights import filter_spectrum, shuffled_channels
from invariscope.zoo import build

pytestmark = pytest.mark.usefixtures("seeded")


def order_of(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Which channel each one was; both (out, in, ...) of unlike channels."""
    return [next(i for i in range(before.shape[1]) if torch.equal(before[:, i], after[:, c]))
            for c in range(before.shape[1])]  # fmt: skip


def test_every_layer_is_permuted_in_its_own_way_and_the_model_is_untouched():
    model = build("simple_conv", filters=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shuffled = shuffled_channels(model, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    orders = [order_of(model.get_submodule(f"conv{i}").weight, shuffled.get_submodule(f"conv{i}").weight)
              for i in range(1, 6)]  # fmt: skip
    assert [sorted(order) == list(range(len(order))) for order in orders] == [True] * 5
    assert [order == sorted(order) for order in orders] == [True, False, False, False, False]
    assert orders[1] != orders[2]
    others = [name for name in before if not (name.startswith("conv") and name.endswith("weight"))]
    assert all(torch.equal(shuffled.state_dict()[name], before[name]) for name in others)


def test_the_shuffle_equals_permuting_the_maps_that_the_layer_reads():
    layer = nn.Conv2d(6, 3, 3)
    shuffled = shuffled_channels(layer, seed=3)
    order = order_of(layer.weight, shuffled.weight)
    x = torch.rand(2, 6, 5, 5)
    inverse = torch.tensor(order).argsort()
    torch.testing.assert_close(shuffled(x), layer(x[:, inverse]))


def test_spatial_pooling_survives():
    model = build("simple_conv", filters=6)
    shuffled = shuffled_channels(model, seed=1)
    for name in ("conv2", "conv5"):
        before, after = filter_spectrum(model, name).power, filter_spectrum(shuffled, name).power
        assert after == pytest.approx(before)


def test_the_same_seed_gives_the_same_network_and_another_seed_another():
    model = build("simple_conv", filters=8)
    first, again, other = (shuffled_channels(model, seed=seed).conv3.weight for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_channels_stay_within_their_group():
    layer = nn.Conv2d(8, 6, 3, groups=2)
    shuffled = shuffled_channels(layer, seed=0)
    orders = [order_of(layer.weight[part], shuffled.weight[part]) for part in (slice(0, 3), slice(3, 6))]
    assert [sorted(order) for order in orders] == [[0, 1, 2, 3]] * 2
    assert orders[0] != orders[1]


def test_a_weight_that_two_layers_share_stays_shared():
    model = nn.Sequential(nn.Conv2d(5, 5, 3), nn.Conv2d(5, 5, 3))
    model[1].weight = model[0].weight
    shuffled = shuffled_channels(model, seed=0)
    assert shuffled[0].weight is shuffled[1].weight
    assert sorted(order_of(model[0].weight, shuffled[0].weight)) == [0, 1, 2, 3, 4]


torch.manual_seed(0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(3, 3), "Linear has no convolution with several input channels"),
        (nn.Conv2d(4, 4, 3, groups=4), "Conv2d has no convolution with several input channels"),
        (nn.Sequential(weight_norm(nn.Conv2d(4, 4, 3))), r"the weight of '0' is computed from other"),
        (nn.Sequential(spectral_norm(nn.Conv2d(4, 4, 3))), r"the weight of '0' is computed from other"),
    ],
)
def test_what_cannot_be_shuffled_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        shuffled_channels(model, seed=0)
