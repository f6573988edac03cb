"""Errors inside a user's element, action or representation name what failed and on which input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.actions.feature_actions import FeatureAction


def broken(x):
    raise KeyError("no such key")


def mirrored(x):
    return x.flip(3)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(192, 4))


def quick(net, transform, **options):
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return iv.measure(net, x, transform, progress=False, **options)


def mirror(**options):
    given = {
        name: [torch.clone, mirrored] for name in ("callables", "inverses", "actions", "inverse_actions")
    }
    return iv.Elements(**given | options)


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        ([torch.clone, broken], ValueError, r"element 'broken' failed on a batch of shape \(3, 1, 8, 8\) of"),
        ([torch.clone, lambda x: x.flip(9)], ValueError, r"element '#1' failed .* with IndexError"),
        (iv.Drawn(broken, draws=2), ValueError, r"element 'broken 1' failed .* with KeyError: 'no such key'"),
        ([torch.clone, lambda x: x.to_sparse()], TypeError, r"element '#1' must return a dense tensor"),
        ([torch.clone, lambda x: x.to("meta")], TypeError, r"on the device of its batch, cpu; it .* meta"),
    ],
    ids=["its own error", "torch's error", "a drawn one", "sparse", "meta"],
)
def test_an_element_that_fails_is_named(net, transform, error, message):
    with pytest.raises(error, match=message):
        quick(net, transform)


def test_an_inverse_that_fails_is_named(net):
    with pytest.raises(ValueError, match=r"the inverse of element 'mirrored' failed on a batch"):
        quick(net, mirror(inverses=[torch.clone, broken]), floor=True)


@pytest.mark.parametrize("measure", ["equivariance_error", "same_equivariance"])
def test_an_action_that_fails_on_some_layers_leaves_those_out(net, measure):
    result = quick(net, mirror(), measures=[measure])
    assert set(result.table["layer"]) == {"0"}
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert set(skipped) == {"1", "2"}
    assert all("action of element 'mirrored' failed on a batch of shape" in why for why in skipped.values())


def test_an_action_that_fails_on_all_layers_is_refused(net):
    transform = mirror(actions=[torch.clone, broken], inverse_actions=[torch.clone, broken])
    with pytest.raises(ValueError, match=r"applies to none of the 3 layers\. 0: the action of element 'mir"):
        quick(net, transform, measures=["equivariance_error"])


class Own(FeatureAction):
    """A user's action that supports only maps."""

    name = "own"

    def kernel(self, block):
        return None

    def acted(self, block, maps, *, inverse):
        return maps.flip(4)

    def moves_positions(self, layer, axes):
        return axes == 3


class Shrinking(Own):
    def acted(self, block, maps, *, inverse):
        return maps[:1]


def test_a_users_action_that_fails_leaves_the_layer_out(net):
    result = quick(net, iv.Flip(), measures=[iv.EquivarianceError(feature_action=Own())])
    assert set(result.table["layer"]) == {"0"}
    reason = result.provenance["skipped"][0]["reason"]
    assert "the action 'own' failed on responses of shape (192,) with IndexError" in reason


def test_an_action_that_changes_the_shape_is_refused_even_if_one_sample_fits(net):
    with pytest.raises(ValueError, match=r"applies to none.*must return a tensor of the same shape"):
        quick(net, iv.Flip(), measures=[iv.EquivarianceError(feature_action=Shrinking())])


class Failing:
    def D_from_matrix(self, rotations):
        raise RuntimeError("no such rotation")


class Short:
    def D_from_matrix(self, rotations):
        return rotations[:1]


@pytest.mark.parametrize(
    ("representation", "message"),
    [
        (
            Failing(),
            r"the representation Failing\.D_from_matrix failed on an array of shape \(3, 3, 3\) with",
        ),
        (Short(), r"D_from_matrix must return one matrix per rotation; for 3 .* \(1, 3, 3\)"),
    ],
    ids=["failing", "short"],
)
def test_a_representation_that_fails_is_named(representation, message):
    torch.manual_seed(0)
    points = torch.randn(16, 5, 3)
    measure = iv.EquivarianceError(feature_action=iv.MatrixAction(representation))
    with pytest.raises(ValueError, match=message):
        iv.measure(nn.Linear(3, 3), points, iv.RandomOrthogonal(3), measures=[measure], progress=False)
    with pytest.raises(ValueError, match=r"the representation broken failed on 0 with KeyError"):
        iv.FibreAction(broken, elements=[0, 1])
