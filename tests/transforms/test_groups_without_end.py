"""Groups that are not compact are drawn uniformly from a range, which must be given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope.transforms.machinery.linear import linear_parts


def matrices(transform, samples=4000):
    motion = transform.motion_of(samples)
    return transform.maps(motion)


@pytest.mark.parametrize(
    ("make", "example"),
    [
        (lambda: iv.Translation.uniform(8), r"Translation\.uniform\(8, 3\)"),
        (lambda: iv.Scale.uniform(8), r"Scale\.uniform\(8, 0\.8, 1\.25\)"),
        (lambda: iv.Scale.uniform(8, 0.8), r"Scale\.uniform\(8, 0\.8, 1\.25\)"),
        (lambda: iv.Shear.uniform(8), r"Shear\.uniform\(8, 0\.3\)"),
    ],
)
def test_a_draw_without_a_range_is_refused_with_the_reason_and_a_range(make, example):
    with pytest.raises(
        ValueError, match=rf"not a compact group(.|\n)*no uniform distribution(.|\n)*{example}"
    ):
        make()


def evenly(values, lo, hi):
    """Whether values fill an interval evenly: Kolmogorov's distance is below its 1e-4 quantile."""
    places = np.sort((np.ravel(values) - lo) / (hi - lo))
    ranks = np.arange(len(places) + 1) / len(places)
    return max(np.abs(places - ranks[1:]).max(), np.abs(places - ranks[:-1]).max()) < 2.2 / len(places) ** 0.5


def test_draws_are_uniform_in_their_range_and_independent():
    shifts = matrices(iv.Translation.uniform(2, 3))[..., 2]
    assert evenly(shifts[..., 0], -3, 3)
    assert evenly(shifts[..., 1], -3, 3)
    assert np.abs(np.corrcoef(shifts.reshape(-1, 4).T) - np.eye(4)).max() < 0.08
    scales = matrices(iv.Scale.uniform(2, 0.5, 4))[..., 0, 0]
    assert evenly(np.log(scales), np.log(0.5), np.log(4))
    assert not evenly(scales, 0.5, 4)
    assert evenly(matrices(iv.Shear.uniform(2, 0.3))[..., 0, 1], -0.3, 0.3)


@pytest.mark.parametrize(
    "transform", [iv.Translation.uniform(2, 3), iv.Scale.uniform(2, 0.8, 1.25), iv.Shear.uniform(2, 0.3)]
)
def test_draws_belong_to_their_samples_and_are_undone_by_the_inverse(transform):
    torch.manual_seed(0)
    x = torch.rand(6, 1, 9, 9)
    whole = transform.orbit(x, seed=5)
    assert torch.equal(whole[4:], transform.orbit(x[4:], indices=[4, 5], seed=5))
    assert not torch.allclose(whole, transform.orbit(x, seed=6))
    assert transform.per_sample
    assert transform.table() is None
    assert transform.traits.slider is None
    there, back = (linear_parts(t, np.arange(6), 5) for t in (transform, transform.inverse()))
    np.testing.assert_allclose(there @ back, np.broadcast_to(np.eye(2), there.shape), atol=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iv.Translation.uniform(2, -1), "at least 0; got -1"),
        (lambda: iv.Shear.uniform(2, -1), "at least 0; got -1"),
        (lambda: iv.Scale.uniform(2, 2, 0.5), "hi must be greater than lo; got lo=2 and hi=0.5"),
        (lambda: iv.Scale([1.0], jitter=0.5), "at least 1; got 0.5"),
        (lambda: iv.Scale.uniform(2, -1, 0.5), "lo is negative"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_affine_maps_are_drawn_part_by_part_and_sampled_once():
    torch.manual_seed(0)
    drawn = iv.Compose([iv.Rotation.uniform(2), iv.Scale.uniform(2, 0.8, 1.25)])
    found = linear_parts(drawn, np.arange(4000), 0)
    assert evenly(0.5 * np.log(np.linalg.det(found)), np.log(0.8), np.log(1.25))
    assert evenly(np.arctan2(found[..., 0, 1], found[..., 0, 0]), -np.pi, np.pi)
    x = torch.rand(1, 1, 9, 9)
    maps = np.concatenate([found[0], np.zeros((2, 2, 1))], axis=-1)
    torch.testing.assert_close(drawn.orbit(x, seed=0), iv.Affine(maps).orbit(x))
    turned, scaled = drawn.parts
    twice = torch.cat([scaled.orbit(turned.orbit(x)[:, j])[:, j : j + 1] for j in range(2)], 1)
    assert not torch.allclose(drawn.orbit(x, seed=0), twice, atol=1e-2)
