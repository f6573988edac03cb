"""Models that differentiate inside their forward are measured with `gradients=True`, and stay the same."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.readers import as_reader
from invariscope.readers.channel_mean import ChannelMean

TURNS = iv.RandomOrthogonal(3)
ROLLS = [torch.clone, lambda x: x.roll(1, 2) * 1.5, lambda x: -x.roll(1, 1)]


class Forces(nn.Module):
    """Energy of pairs of points, and its derivative, by autograd on the input itself."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 8)

    def forward(self, points):
        points.requires_grad_(True)
        apart = (points[:, :, None] - points[:, None]).square().sum(-1, keepdim=True)
        energy = torch.tanh(self.layer(apart)).sum((1, 2, 3))
        return -torch.autograd.grad(energy.sum(), points)[0]


class Backward(nn.Module):
    """A step of the forward calls `backward()`, which fills the gradients of the weights."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 4), nn.ReLU(inplace=True)

    def forward(self, points):
        self.act(self.layer(points)).square().sum().backward()
        return self.act(self.layer(points)).flatten(1)


@pytest.fixture
def points():
    return torch.randn(32, 5, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def forces():
    torch.manual_seed(0)
    return Forces()


def quick(model, data, **options):
    return iv.measure(model, data, TURNS, **({"progress": False, "gradients": True} | options))


def by_hand(model, points):
    """The oracle: variance along the orbits over variance across samples, of the forces in float64."""
    model = model.double()
    found = np.stack([model(element(points.double())).detach().numpy() for element in ROLLS], axis=1)
    return (found.var(axis=1, ddof=1).mean(0) / found.var(axis=0, ddof=1).mean(0)).mean()


def test_forces_by_autograd_have_the_values_of_the_definition(forces, points):
    result = iv.measure(forces, points, ROLLS, layers="neg", gradients=True, progress=False)
    assert result.table["value"].iloc[0] == pytest.approx(by_hand(forces, points), rel=1e-5)


def test_assertions_and_output_measures_accept_gradients(forces, points):
    passed = iv.assert_equivariant(
        forces, points, TURNS, feature_action={"neg": "spatial"}, gradients=True, below=1e-4
    )
    assert passed.broken == ()
    rows = quick(forces, points, measures=["equivariance_error"]).table
    assert {"neg", "grad"} <= set(rows["layer"])
    with pytest.raises(iv.SymmetryError, match=r"layer 'output' is not invariant"):
        iv.assert_invariant(forces, points, TURNS, gradients=True)


@pytest.mark.parametrize("model", [Forces, Backward])
def test_weights_their_gradients_and_the_inputs_are_untouched(model, points):
    torch.manual_seed(0)
    net = model().train()
    net.layer.bias.requires_grad_(False)
    kept = net.layer.weight.grad = torch.ones_like(net.layer.weight)
    quick(net, points)
    assert net.layer.weight.grad is kept
    assert torch.equal(kept, torch.ones_like(kept))
    assert [p.requires_grad for p in net.parameters()] == [True, False]
    assert net.layer.bias.grad is None
    assert not points.requires_grad
    assert net.training


def test_responses_are_detached_and_no_tensor_outlives_a_forward(forces, points):
    reader, met = as_reader(forces, gradients=True), []
    reader.inspect(points)
    with reader.open() as forward:

        def run():
            forward(points, lambda reading: met.append(reading.values.requires_grad))
            gc.collect()
            return sum(issubclass(type(found), torch.Tensor) for found in gc.get_objects())

        first, later = run(), [run() for _ in range(3)]
    assert set(met) == {False}
    assert max(later) <= first


@pytest.mark.parametrize("inference", [False, True])
def test_the_callers_gradient_mode_does_not_matter(forces, points, inference):
    expected = quick(forces, points).table["value"]
    with torch.inference_mode() if inference else torch.no_grad():
        assert quick(forces, points).table["value"].equals(expected)


def test_callables_and_channel_means_accept_gradients(points):
    def slope(x):
        x = x.detach().requires_grad_(True)
        return {"slope": torch.autograd.grad(torch.tanh(x).sum(), x)[0]}

    found = quick(slope, points).table["value"]
    exact = quick(lambda x: {"slope": 1 - torch.tanh(x) ** 2}, points, gradients=False).table["value"]
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert len(quick(ChannelMean(slope, gradients=True), points, gradients=False).table)
    with pytest.raises(TypeError, match="a reader is created with its own gradients="):
        quick(ChannelMean(slope, gradients=True), points)


@pytest.mark.parametrize("model", [Forces, Backward])
def test_without_gradients_the_error_names_the_option(model, points):
    torch.manual_seed(0)
    with pytest.raises(
        ValueError, match=r"differentiates inside its forward pass.*unless gradients=True is passed"
    ):
        quick(model(), points, gradients=False)


def test_studies_pass_gradients_on():
    class Saliency(nn.Module):
        def forward(self, images):
            images.requires_grad_(True)
            (slope,) = torch.autograd.grad(images.square().sum(), images)
            return slope.mean((2, 3))

    images = torch.rand(32, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    curve = iv.stability_curve(Saliency(), images, radii=3, gradients=True, progress=False)
    assert len(curve.curves)
    worst = iv.worst_element(
        Saliency(), images, iv.Rotation([0, 20, 40]), tolerance=10, gradients=True, progress=False
    )
    assert (worst.table["measure"] == "worst_element.refined").any()


def test_gradients_is_recorded_and_must_be_a_boolean(forces, points):
    assert quick(forces, points).provenance["options"]["gradients"] is True
    assert "gradients" not in quick(nn.Linear(3, 2), points, gradients=False).provenance["options"]
    with pytest.raises(ValueError, match="gradients must be True or False; got 'yes'"):
        quick(forces, points, gradients="yes")
