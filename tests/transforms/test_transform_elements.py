"""Any callables as elements, for any data."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from invariscope.transforms import Elements, Rotation, as_transform

pytestmark = pytest.mark.usefixtures("seeded")


def test_token_sequences_are_moved_by_callables() -> None:
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    orbit = Elements([lambda t: t, lambda t: t.flip(1), lambda t: t.roll(1, dims=1)]).orbit(tokens)
    assert orbit.dtype == torch.int64
    assert orbit[1].tolist() == [[4, 5, 6], [6, 5, 4], [6, 4, 5]]


def test_a_callable_that_works_in_place_harms_neither_data_nor_other_elements() -> None:
    x = torch.ones(3, 4)
    orbit = Elements([lambda t: t.mul_(2), lambda t: t, lambda t: t.add_(1)]).orbit(x)
    assert orbit[0, :, 0].tolist() == [2.0, 1.0, 2.0]
    assert x.eq(1).all()


def test_results_may_have_another_shape_and_dtype_than_the_data() -> None:
    x = torch.randn(5, 1, 8, 8)
    crops = Elements([lambda t: t[..., :6, :6].double(), lambda t: t[..., 2:, 2:].double()])
    assert crops.orbit(x).shape == (5, 2, 1, 6, 6)
    assert torch.equal(crops.orbit(x)[:, 1], x[..., 2:, 2:].double())


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda t: t.numpy(), TypeError, "element '#1' must return a tensor; it returned ndarray"),
        (lambda t: t[:1], ValueError, r"for 3 samples it returned shape \(1, 2\)"),
        (lambda t: t[:, :1], ValueError, r"same shape and dtype; element '#1' returned \(1,\)"),
        (
            lambda t: t.double(),
            ValueError,
            r"of torch.float64 per sample, an earlier one \(2,\) of torch.float32",
        ),
        (lambda t: t.sum(), ValueError, r"one result per sample"),
    ],
)
def test_results_that_are_not_an_orbit_are_refused(function, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Elements([torch.neg, function]).orbit(torch.zeros(3, 2))


def test_random_elements_reach_the_samples_they_were_drawn_for() -> None:
    x = torch.arange(1.0, 101.0)[:, None]
    drawn = Elements([lambda t: t, lambda t: -t]).random(x, generator=torch.Generator().manual_seed(2))
    assert torch.equal(drawn.abs(), x)
    assert 30 < int((drawn < 0).sum()) < 70


def test_labels_are_the_callables_names_where_these_tell_them_apart() -> None:
    def brighter(t: torch.Tensor) -> torch.Tensor:
        return t + 1

    scaled = functools.partial(torch.mul, other=2)
    transform = Elements([brighter, lambda t: t, scaled, nn.ReLU(), nn.Tanh(), nn.Tanh()])
    assert transform.labels == ("brighter", "#1", "partial", "ReLU", "#4", "#5")
    assert transform.parameters == {"element": (0, 1, 2, 3, 4, 5)}


def test_declared_actions_move_feature_maps_and_undeclared_ones_refuse() -> None:
    maps = torch.randn(2, 2, 3, 4, 4)
    mirrored = Elements([lambda t: t, lambda t: t.flip(-1)], actions=[lambda f: f, lambda f: f.flip(-1)])
    acted = mirrored.act(maps)
    assert torch.equal(acted[:, 0], maps[:, 0])
    assert torch.equal(acted[:, 1], maps[:, 1].flip(-1))
    with pytest.raises(TypeError, match=r"inverse_actions=\[...\]"):
        mirrored.act(maps, inverse=True)
    with pytest.raises(TypeError, match=r"not declared.*actions=\[...\]"):
        Elements([torch.neg, torch.abs]).act(maps)


def test_lists_and_single_callables_become_elements() -> None:
    transform = as_transform([torch.neg, torch.abs])
    assert isinstance(transform, Elements)
    assert transform.labels == ("neg", "abs")
    assert len(as_transform(torch.neg)) == 1
    assert len(as_transform((torch.neg, nn.Identity()))) == 2


def test_a_declared_identity_is_one() -> None:
    transform = Elements([torch.neg, lambda t: t], identity=1)
    assert transform.identity == 1
    assert transform.exact == (False, True)
    assert Elements([torch.neg]).identity is None


def test_any_librarys_functions_take_part_on_images() -> None:
    x = torch.rand(4, 3, 8, 8)
    transform = Elements(
        [functools.partial(nn.functional.avg_pool2d, kernel_size=2), lambda t: t[..., ::2, ::2]]
    )
    assert transform.orbit(x).shape == (4, 2, 3, 4, 4)
    assert transform.orbit(x)[:, 1].equal(x[..., ::2, ::2])
    assert not torch.equal(Rotation([10]).orbit(x), x[:, None])
