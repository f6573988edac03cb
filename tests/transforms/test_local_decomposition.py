"""The affine part of displacement fields: exact cases, least squares, and the ensemble's 1 : 2 : 1."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import invariscope as iv
from invariscope.studies.local_decomposition import local_decomposition

small = st.floats(-1, 1, allow_nan=False)


def affine(matrix, shift, height=9, width=12):
    y, x = np.mgrid[:height, :width].astype(float)
    at = np.stack([x, y])
    return np.einsum("ab,bhw->ahw", np.asarray(matrix), at) + np.reshape(shift, (2, 1, 1))


@given(s=small, a=small, b=small, w=small, tx=small, ty=small)
def test_every_part_of_an_affine_field_is_found_and_nothing_is_left_over(s, a, b, w, tx, ty):
    found = local_decomposition(affine([[s + a, b - w], [b + w, s - a]], (tx, ty)), (3, 4))
    assert found.compression.shape == (3, 3)
    for part, value in ((found.compression, s), (found.rotation, w), (found.leftover_px, 0)):
        np.testing.assert_allclose(part, value, atol=1e-12)
    np.testing.assert_allclose(
        found.shear, np.broadcast_to(np.reshape([a, b], (2, 1, 1)), (2, 3, 3)), atol=1e-12
    )
    moved = np.einsum("ab,bhw->ahw", [[s + a, b - w], [b + w, s - a]], found.centres_px)
    np.testing.assert_allclose(found.translation, moved + np.reshape([tx, ty], (2, 1, 1)), atol=1e-12)


def test_patches_are_fitted_by_least_squares_and_the_leftover_is_what_the_fit_leaves():
    field = np.random.default_rng(0).normal(size=(2, 2, 10, 11))
    found = local_decomposition(field, 5, stride=2)
    assert found.matrix.shape == (2, 2, 2, 3, 4)
    y, x = np.mgrid[:5, :5]
    design = np.stack([np.ones(25), x.ravel() - 2, y.ravel() - 2], axis=1)
    cut = field[1, :, 4:9, 2:7].reshape(2, 25).T
    solution = np.linalg.lstsq(design, cut, rcond=None)[0]
    np.testing.assert_allclose(found.translation[1, :, 2, 1], solution[0])
    np.testing.assert_allclose(found.matrix[1, :, :, 2, 1], solution[1:].T)
    left = np.sqrt(np.square(cut - design @ solution).sum(axis=1).mean())
    assert found.leftover_px[1, 2, 1] == pytest.approx(left)
    np.testing.assert_array_equal(found.centres_px[:, 2, 1], [4, 6])


def test_squares_of_the_three_norms_add_up_to_that_of_the_matrix():
    found = local_decomposition(np.random.default_rng(1).normal(size=(2, 8, 8)), 2, stride=1)
    parts = found.compression_norm**2 + found.shear_norm**2 + found.rotation_norm**2
    np.testing.assert_allclose(parts, np.square(found.matrix).sum(axis=(0, 1)))


def test_a_clockwise_turn_of_the_image_is_a_positive_rotation_and_a_zoom_a_positive_compression():
    y, x = np.mgrid[:9, :9] - 4.0
    assert local_decomposition(0.1 * np.stack([-y, x]), 9).rotation[0, 0] == pytest.approx(0.1)
    assert local_decomposition(0.1 * np.stack([x, y]), 9).compression[0, 0] == pytest.approx(0.1)


def test_in_the_ensemble_compression_shear_and_rotation_stand_as_one_to_two_to_one():
    rng, n, c, temperature, fields = np.random.default_rng(2), 65, 3, 1e-3, 1000
    i = np.arange(1, c + 1)
    squares = i[:, None] ** 2 + i**2
    spread = np.where(squares < (c + 0.5) ** 2, np.sqrt(temperature / squares), 0)
    waves = np.sin(np.pi * np.outer(i, np.linspace(0, 1, n)))
    coefficients = rng.normal(size=(fields, 2, c, c)) * spread
    field = (n - 1) * np.einsum("faij,iw,jh->fahw", coefficients, waves, waves, optimize=True)
    found = local_decomposition(field, 2, stride=2)
    unit = np.pi**2 * temperature * (spread > 0).sum() / 8
    for norm, expected in ((found.compression_norm, 1), (found.shear_norm, 2), (found.rotation_norm, 1)):
        per_field = np.square(norm).mean(axis=(1, 2)) / unit
        error = per_field.std(ddof=1) / np.sqrt(fields)
        # 3 half waves on 64 steps: a patch of two pixels loses at most 0.7 % of a square.
        assert abs(per_field.mean() - expected) < 4 * error + 0.007 * expected
        assert error < 0.03 * expected


def test_fields_of_the_transform_are_taken_as_they_come():
    fields = iv.Diffeomorphism(draws=2).field([0, 1], size=(20, 24))
    found = local_decomposition(fields.flatten(0, 1), 4)
    assert found.compression.shape == (4, 5, 6)
    assert isinstance(fields, torch.Tensor)
    assert 0 < found.leftover_px.mean() < found.shear_norm.mean() * 4


@pytest.mark.parametrize(
    ("field", "options", "message"),
    [
        (np.zeros((3, 5, 5)), {}, r"x first; got shape \(3, 5, 5\)"),
        (np.zeros((1, 1, 2, 5, 5)), {}, "Flatten samples and elements"),
        (np.full((2, 5, 5), np.nan), {}, "NaN or infinite"),
        (np.zeros((2, 5, 5)), {"patch": 6}, "fit in the field of 5 × 5; got 6 × 6"),
        (np.zeros((2, 5, 5)), {"patch": 1}, "at least 2 × 2"),
        (np.zeros((2, 5, 5)), {"stride": 0}, "stride must be an integer"),
    ],
)
def test_what_is_not_a_field_or_a_patch_is_refused(field, options, message):
    with pytest.raises(ValueError, match=message):
        local_decomposition(field, **options)
