"""The spatial transformer turns about the centre, starts without a turn, and learns an angle."""

from __future__ import annotations

import math

import pytest
import torch

import invariscope as iv
from invariscope.variants.randomized import randomized
from invariscope.zoo import build
from invariscope.zoo.networks.stn_simple_conv import Turn

pytestmark = pytest.mark.usefixtures("seeded")

NARROW = {"filters": 2, "fc": 4, "localisation_filters": 2}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 30, 45)])
def test_at_the_start_it_is_simple_conv_of_the_same_seed(shape):
    plain = build("simple_conv", input_shape=shape, filters=2, fc=4, seed=3).eval()
    turning = build("stn_simple_conv", input_shape=shape, seed=3, **NARROW).eval()
    x = torch.rand(4, *shape)
    torch.testing.assert_close(turning(x), plain(x), rtol=1e-5, atol=1e-6)


def test_new_random_weights_do_not_turn_either():
    fresh = randomized(build("stn_simple_conv", **NARROW), seed=1)
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(fresh.get_submodule("correction")(x), x)


@pytest.mark.parametrize("size", [(9, 9), (6, 11)])
def test_a_half_turn_is_two_flips_on_any_rectangle(size):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    direction = torch.tensor([[-1.0, 0.0]], dtype=torch.float64).expand(2, 2)
    torch.testing.assert_close(Turn()(x, direction), x.flip(2, 3))


def test_each_image_gets_its_own_turn_whatever_the_length_of_the_direction():
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    directions = torch.tensor([[0.0, 5.0], [0.1, 0.0], [0.0, -2.0]], dtype=torch.float64)
    turned = Turn()(x, directions)
    for i, quarter in enumerate((1, 0, -1)):
        torch.testing.assert_close(turned[i], torch.rot90(x[i], quarter, (1, 2)))


def test_a_turn_does_not_distort_a_rectangle():
    # Two pixels at the same distance from the centre, one along each axis, end at each other's place.
    x = torch.zeros(1, 1, 9, 15, dtype=torch.float64)
    x[..., 4, 10] = 1
    turned = Turn()(x, torch.tensor([[0.0, 1.0]], dtype=torch.float64))
    assert turned[0, 0, 1, 7] == pytest.approx(1)
    assert turned.sum() == pytest.approx(1)


def test_the_angle_is_learned_by_gradient_alone():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 3, 3, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(x, size=(16, 16), mode="bilinear")
    wanted = Turn()(x, torch.tensor([[math.cos(0.5), math.sin(0.5)]], dtype=torch.float64))
    direction = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    steps = torch.optim.Adam([direction], lr=0.02)
    for _ in range(200):
        steps.zero_grad()
        (Turn()(x, direction) - wanted).square().sum().backward()
        steps.step()
    angle = torch.atan2(direction[0, 1], direction[0, 0]).item()
    assert angle == pytest.approx(0.5, abs=0.01)


def test_the_gradient_reaches_the_localisation():
    model = build("stn_simple_conv", **NARROW)
    model(torch.rand(4, 1, 28, 28))[:, 0].sum().backward()
    assert model.get_submodule("correction.localisation.direction").weight.grad.abs().sum() > 0


def test_layers_before_and_after_the_correction_are_measured():
    x = torch.rand(24, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    result = iv.measure(build("stn_simple_conv", **NARROW), x, iv.QuarterTurns(), progress=False)
    layers = list(result.table["layer"])
    turned = layers.index("correction.turn")
    assert layers[0] == "correction.localisation.conv1"
    assert layers.index("correction.localisation.direction") < turned < layers.index("conv1")
    assert layers[-1] == "log_softmax"
