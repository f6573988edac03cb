"""Gabor functions are found where they are, and random filters are distinguished from them."""

from __future__ import annotations

import numpy as np
import pytest

from invariscope.weights import fit_gabor, phase_randomised
from invariscope.zoo import build

RNG = np.random.default_rng(0)


def gabor(angle_deg, frequency, *, size=9, along=1.8, across=2.2, phase=0.5, centre=(0.4, -0.3)):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    x, y, angle = x - centre[0], -(y - centre[1]), np.radians(angle_deg)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return np.exp(-(u**2) / (2 * along**2) - v**2 / (2 * across**2)) * np.cos(
        2 * np.pi * frequency * u + phase
    )


@pytest.mark.parametrize("angle_deg", [0, 30, 90, 135])
@pytest.mark.parametrize("frequency", [0.12, 0.3])
def test_a_planted_gabor_function_is_recovered(angle_deg, frequency):
    fits = fit_gabor(0.7 - 3 * gabor(angle_deg, frequency)[None, None])
    assert fits.r2[0] > 0.9999
    assert fits.frequency[0] == pytest.approx(frequency, abs=0.005)
    turn = (fits.orientation_deg[0] - angle_deg + 90) % 180 - 90
    assert turn == pytest.approx(0, abs=1)
    assert fits.width_px[0] == pytest.approx([1.8, 2.2], rel=0.03)
    np.testing.assert_allclose(fits.fitted, fits.filters, atol=0.03)


def test_noise_lowers_the_share_that_is_explained_by_its_own_share():
    clean = gabor(20, 0.2)
    noise = RNG.normal(size=(8, 1, 9, 9)) * clean.std()
    fits = fit_gabor(clean + noise)
    assert 0.4 < fits.median_r2 < 0.75


def test_random_filters_are_explained_far_less():
    fits = fit_gabor(RNG.normal(size=(12, 1, 9, 9)))
    assert fits.r2.max() < 0.5
    assert (fits.r2 > 0).all()


def test_scale_and_offset_do_not_matter_and_a_constant_filter_has_no_value():
    filters = RNG.normal(size=(2, 1, 7, 7))
    np.testing.assert_allclose(fit_gabor(filters).r2, fit_gabor(40 - 5 * filters).r2, atol=1e-3)
    constant = fit_gabor(np.full((1, 1, 7, 7), 2.0))
    assert np.isnan(constant.r2).all()
    assert np.isnan(constant.median_r2)
    assert (constant.fitted == 2).all()


def test_filters_of_a_layer_are_spread_evenly_under_a_limit():
    model = build("min_cnn", filters=9, kernel_size=5)
    fits = fit_gabor(model, limit=3)
    weights = model.conv.weight.detach().double().numpy()[:, 0]
    np.testing.assert_array_equal(fits.filters, weights[[0, 3, 6]])
    assert fits.layer == "conv"
    assert len(fits.table) == 3
    assert list(fits.table.columns)[:3] == ["filter", "r2", "frequency"]


def test_small_filters_are_refused():
    with pytest.raises(ValueError, match=r"'conv1' has filters of 3 x 3: a Gabor function has nine"):
        fit_gabor(build("simple_conv", filters=2), "conv1")
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        fit_gabor(build("min_cnn", filters=2), limit=0)


def test_phase_randomised_copies_keep_spectrum_mean_and_variance_and_nothing_else():
    filters = 0.3 + RNG.normal(size=(3, 2, 9, 9))
    copies = phase_randomised(filters, seed=4)
    np.testing.assert_allclose(np.abs(np.fft.fft2(copies)), np.abs(np.fft.fft2(filters)), atol=1e-10)
    np.testing.assert_allclose(copies.mean((2, 3)), filters.mean((2, 3)))
    np.testing.assert_allclose(copies.var((2, 3)), filters.var((2, 3)))
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(filters[0], copies[0], strict=True)]
    assert np.abs(same).max() < 0.5
    np.testing.assert_array_equal(copies, phase_randomised(filters, seed=4))
    assert not np.allclose(copies, phase_randomised(filters, seed=5))


@pytest.mark.parametrize("size", [8, 9])
def test_a_single_wave_is_moved_and_a_constant_filter_stays(size):
    x = np.arange(size)
    wave = np.tile(np.cos(2 * np.pi * 2 * x / size), (size, 1))
    copy = phase_randomised(np.stack([wave, np.full((size, size), -2.0)]))
    # The wave has one frequency, so that its copy is the same wave from another place on.
    shifts = np.linspace(0, 2 * np.pi, 721)
    moved = np.cos(2 * np.pi * 2 * x / size + shifts[:, None])
    assert np.abs(copy[0] - moved[:, None]).max(axis=(1, 2)).min() < 0.01
    np.testing.assert_allclose(copy[1], -2.0)


def test_copies_of_gabor_functions_are_fitted_worse_than_these_and_better_than_noise():
    filters = np.stack([gabor(angle, 0.2, along=1.3, across=1.3) for angle in range(0, 180, 15)])
    copies = fit_gabor(phase_randomised(filters)[:, None])
    noise = fit_gabor(RNG.normal(size=(12, 1, 9, 9)))
    assert noise.r2.mean() + 0.1 < copies.r2.mean() < fit_gabor(filters[:, None]).r2.mean() - 0.1
