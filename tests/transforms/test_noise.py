"""Noise of a given norm, and noise as large as another transform's displacement."""

from __future__ import annotations

import math

import pytest
import torch

from invariscope.transforms import Diffeomorphism, Elements, Flip, Noise, Rotation
from invariscope.transforms.noise import isotropic_noise


def samples(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_noise_has_the_norm_it_was_asked_for() -> None:
    x = samples(4, 3, 6, 5)
    added = Noise(5, norm=2.5).orbit(x) - x[:, None]
    torch.testing.assert_close(added.flatten(2).norm(dim=2), torch.full((4, 5), 2.5, dtype=torch.float64))


@pytest.mark.parametrize("like", [Diffeomorphism(3), Rotation([10, 20]), Flip()])
def test_noise_is_as_large_as_the_other_transforms_displacement_of_the_same_sample(like) -> None:
    x = samples(4, 2, 12, 12)
    noise = Noise(like=like)
    moved = (like.orbit(x, indices=[5, 1, 7, 2], seed=3) - x[:, None]).flatten(2).norm(dim=2)
    added = (noise.orbit(x, indices=[5, 1, 7, 2], seed=3) - x[:, None]).flatten(2).norm(dim=2)
    assert len(noise) == len(like)
    torch.testing.assert_close(added, moved)


def test_directions_are_isotropic() -> None:
    eta = isotropic_noise(torch.zeros(4000, 6, dtype=torch.float64), math.sqrt(6), draws=5).flatten(0, 1)
    assert eta.mean(dim=0).abs().max() < 4 / math.sqrt(20000)
    covariance = eta.T @ eta / len(eta)
    assert (covariance - torch.eye(6, dtype=torch.float64)).abs().max() < 4 * math.sqrt(2 / 20000)
    fourth = (eta[:, 0] ** 4).mean()  # 3d/(d + 2) on the sphere of radius √d
    assert fourth == pytest.approx(3 * 6 / 8, rel=0.05)


def test_directions_belong_to_seed_index_and_draw() -> None:
    x = samples(5, 7)
    whole = isotropic_noise(x, 1.0, [3, 9, 1, 4, 800], seed=2, draws=3)
    assert torch.equal(isotropic_noise(x[:1], 1.0, [800], seed=2, draws=3)[0], whole[4])
    assert torch.equal(isotropic_noise(x, 1.0, [3, 9, 1, 4, 800], seed=2, draws=2), whole[:, :2])
    assert not torch.equal(isotropic_noise(x, 1.0, [3, 9, 1, 4, 800], seed=3, draws=3), whole)
    assert len(torch.unique(whole[..., 0])) == 15
    assert torch.equal(Noise(3, norm=1).orbit(x, indices=[3, 9, 1, 4, 800], seed=2), x[:, None] + whole)


def test_noise_has_nothing_to_do_with_the_fields_of_the_same_seed() -> None:
    fields = Diffeomorphism(1, temperature=1.0).coefficients(range(3000))[:, 0, 0, 0, 0]
    first = isotropic_noise(torch.zeros(3000, 18, dtype=torch.float64), 1.0)[:, 0]
    together = torch.corrcoef(torch.cat([fields[None], first.T]))[0, 1:]
    assert together.abs().max() < 4.5 / math.sqrt(3000)


@pytest.mark.parametrize("shape", [(), (4,), (4, 2)])
def test_a_radius_is_one_number_or_one_a_sample_or_one_a_draw(shape: tuple[int, ...]) -> None:
    radius = 1 + torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    eta = isotropic_noise(samples(4, 9), radius, draws=2)
    expected = (radius[:, None] if radius.ndim == 1 else radius).expand(4, 2)
    torch.testing.assert_close(eta.flatten(2).norm(dim=2), expected)


def test_the_norm_is_constant_in_gradients_even_where_nothing_moves() -> None:
    x = torch.ones(2, 1, 12, 12, requires_grad=True)
    Noise(like=Diffeomorphism(1)).orbit(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_augmentation_adds_noise_of_its_own_to_each_sample() -> None:
    x = torch.zeros(20, 4)
    moved = Noise(norm=2).random(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved.norm(dim=1), torch.full((20,), 2.0))
    assert len(torch.unique(moved[:, 0])) == 20


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda: Noise(norm=0), ValueError, "above 0; got 0"),
        (lambda: Noise(0), ValueError, "draws must be an integer, at least 1; got 0"),
        (lambda: Noise(2, like=Flip()), ValueError, "leave out norm and draws"),
        (lambda: Noise(norm=1, like=Flip()), ValueError, "leave out norm and draws"),
        (lambda: Noise().orbit(torch.zeros(2, 5, dtype=torch.int64)), TypeError, "of int64.*embeddings"),
        (lambda: Noise(like=Flip()).orbit(torch.zeros(2, 5)), TypeError, r"got shape \(2, 5\)"),
        (
            lambda: Noise(like=Elements([_cropped])).orbit(torch.zeros(2, 1, 5, 5)),
            ValueError,
            r"\(1, 5, 5\) into \(1, 3, 5\)",
        ),
        (lambda: Noise().act(torch.zeros(2, 8, 3)), TypeError, "no action on feature maps"),
        (lambda: isotropic_noise(torch.zeros(2, 5), torch.ones(3)), ValueError, r"got shape \(3,\)\."),
        (lambda: isotropic_noise(torch.zeros(2, 5), math.nan), ValueError, "not all finite"),
        (lambda: isotropic_noise(torch.zeros(2, 5), 1.0, [1]), ValueError, "one integer"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(act, kind, message) -> None:
    with pytest.raises(kind, match=message):
        act()


def _cropped(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, :3]
