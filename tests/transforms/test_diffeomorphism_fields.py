"""Smooth fields against their closed form, images against brute force, gradients against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from invariscope.transforms import Compose, Deformation, Diffeomorphism, Flip
from invariscope.transforms.machinery.warping import SIGMA_PX, gradient_of

INTERPOLATIONS = ("bilinear", "cubic", "gaussian")


def coefficients(*shape: int, size: float = 0.02) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return size * torch.randn(*shape, generator=generator, dtype=torch.float64)


def images(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(4), dtype=dtype)


def closed_form(c: np.ndarray, height: int, width: int, pixels: float) -> np.ndarray:
    """Σ C_ij sin(iπu) sin(jπv), term by term, in pixels."""
    found = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            u, v = column / (width - 1), row / (height - 1)
            for i in range(1, len(c) + 1):
                for j in range(1, len(c) + 1):
                    term = math.sin(i * math.pi * u) * math.sin(j * math.pi * v)
                    found[row, column] += pixels * c[i - 1, j - 1] * term
    return found


@pytest.mark.parametrize(("scale", "extra"), [("n-1", 0), ("n", 1)])
def test_fields_are_the_double_sum_over_sines(scale: str, extra: int) -> None:
    given = coefficients(2, 2, 3, 3, size=0.1)
    found = Diffeomorphism.from_coefficients(given, scale=scale).field([0], size=(9, 13))[0]
    for j in range(2):
        for axis, n in ((0, 13), (1, 9)):
            expected = closed_form(given[j, axis].numpy(), 9, 13, n - 1 + extra)
            assert np.abs(found[j, axis].numpy() - expected).max() < 1e-12


def test_the_first_mode_index_goes_with_x() -> None:
    only = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    only[0, 0, 1, 0] = 0.1  # i = 2 half waves along x, j = 1 along y
    field = Deformation(only).field([0], size=(11, 11))[0, 0, 0]
    assert field[5, 5].abs() < 1e-12
    assert field[5, 2] == pytest.approx(10 * 0.1 * math.sin(2 * math.pi * 0.2))
    assert (field[:, 2] > -1e-12).all()


def test_content_moves_with_the_field() -> None:
    right = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    right[0, 0] = 2 / 20  # two pixels to the right in the middle of 21
    dot = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    dot[0, 0, 10, 10] = 1
    moved = Deformation(right).orbit(dot)[0, 0, 0]
    assert divmod(int(moved.argmax()), 21) == (10, 12)


def read_at(image: np.ndarray, y: np.ndarray, x: np.ndarray, interpolation: str) -> np.ndarray:
    """One image at those positions, by other means."""
    at = np.stack([y.clip(0, image.shape[0] - 1), x.clip(0, image.shape[1] - 1)])
    if interpolation == "bilinear":
        return ndimage.map_coordinates(image, at, order=1, mode="nearest")
    if interpolation == "cubic":
        return ndimage.map_coordinates(image, at, order=3, mode="mirror")
    rows, columns = np.indices(image.shape)
    squares = (at[0][..., None, None] - rows) ** 2 + (at[1][..., None, None] - columns) ** 2
    weights = np.exp(-squares / (2 * SIGMA_PX**2))
    return (weights * image).sum(axis=(2, 3)) / weights.sum(axis=(2, 3))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_images_are_read_where_the_field_says_with_edges_clamped(interpolation: str) -> None:
    given, x = coefficients(3, 2, 2, 4, 4, size=0.15), images(3, 2, 10, 14)
    transform = Deformation(given, interpolation=interpolation)
    fields, orbit = transform.field(range(3), size=(10, 14)).numpy(), transform.orbit(x).numpy()
    rows, columns = np.indices((10, 14))
    assert np.abs(fields).max() > 3
    for i, j, channel in np.ndindex(3, 2, 2):
        right, down = fields[i, j]
        expected = read_at(x[i, channel].numpy(), rows - down, columns - right, interpolation)
        assert np.abs(orbit[i, j, channel] - expected).max() < 1e-9


def test_the_gaussian_baseline_is_blurred_and_the_others_are_the_images() -> None:
    x = images(2, 3, 8, 11)
    rows, columns = np.indices((8, 11))
    blurred = Diffeomorphism(interpolation="gaussian", c=2).baseline(x)
    for i, channel in np.ndindex(2, 3):
        expected = read_at(x[i, channel].numpy(), rows, columns, "gaussian")
        assert np.abs(blurred[i, channel].numpy() - expected).max() < 1e-9
    assert (blurred - x).abs().max() > 0.1
    for interpolation in ("bilinear", "cubic"):
        transform = Deformation(torch.zeros(1, 2, 2, 2), interpolation=interpolation)
        assert torch.equal(transform.baseline(x), x)
        torch.testing.assert_close(transform.orbit(x)[:, 0], x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_gradients_in_coefficients_and_images_are_those_of_finite_differences(interpolation: str) -> None:
    def moved(given: Tensor, x: Tensor) -> Tensor:
        return Deformation(given, interpolation=interpolation).orbit(x)

    given = coefficients(2, 1, 2, 2, 2, size=0.04).requires_grad_()
    x = images(2, 1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(moved, (given, x), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_field_of_zeros_has_a_gradient(interpolation: str) -> None:
    """At whole-pixel displacements, reading between floor and ceiling of a position gives none."""
    still = torch.zeros(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    x = images(1, 1, 12, 12)
    (Deformation(still, interpolation=interpolation).orbit(x)[:, 0] * x.flip(-1)).sum().backward()
    assert still.grad is not None
    assert still.grad.abs().min() > 0.1


def test_field_gradients_are_those_of_the_field() -> None:
    given = coefficients(1, 2, 3, 3)
    side = 1001
    field = Deformation(given).field([0], size=(side, side))[0, 0] / (side - 1)
    down, right = torch.gradient(field, spacing=1 / (side - 1), dim=(1, 2))
    found = gradient_of(given, (side, side))[0]
    for difference, axis in ((right, 0), (down, 1)):
        inner = (found[:, axis] - difference)[:, 2:-2, 2:-2]
        assert inner.abs().max() < 1e-4 * found.abs().max()


def test_given_coefficients_replay_at_another_resolution() -> None:
    drawn = Diffeomorphism(2, delta_px=1.5).coefficients([4, 9], size=(15, 15), seed=1)
    replayed = Diffeomorphism.from_coefficients(drawn)
    small, large = (replayed.field([0, 1], size=(n, n)) / (n - 1) for n in (15, 29))
    torch.testing.assert_close(large[..., ::2, ::2], small, atol=1e-14, rtol=0)
    x = images(2, 1, 15, 15)
    expected = Diffeomorphism(2, delta_px=1.5).orbit(x, indices=[4, 9], seed=1)
    torch.testing.assert_close(replayed.orbit(x), expected, atol=1e-12, rtol=0)


def test_the_same_fields_for_all_samples_equal_fields_given_for_each() -> None:
    given, x = coefficients(2, 2, 3, 3), images(4, 3, 8, 8)
    torch.testing.assert_close(
        Deformation(given).orbit(x), Deformation(given.expand(4, -1, -1, -1, -1)).orbit(x)
    )


def test_coefficients_belong_to_the_samples_index_wherever_it_stands() -> None:
    given, x = coefficients(5, 2, 2, 3, 3), images(2, 1, 9, 9)
    some = Deformation(given).orbit(x, indices=[3, 1])
    assert torch.equal(some, Deformation(given[[3, 1]]).orbit(x))


def test_a_rectangle_of_modes_is_a_square_with_zeros() -> None:
    wide = coefficients(1, 2, 1, 3)
    square = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    square[:, :, :1] = wide
    assert Deformation(wide) == Deformation(square)
    for other in (Deformation(-square), Deformation(square, scale="n")):
        assert other != Deformation(square)
        assert other.describe() != Deformation(square).describe()


def test_feature_maps_move_as_far_as_the_input_in_their_own_pixels() -> None:
    transform = Diffeomorphism(2, delta_px=2)
    maps = images(3, 2, 4, 14, 14)
    drawn = transform.coefficients(range(3), size=(28, 28), seed=5)
    acted = transform.act(maps, input_size=(28, 28), seed=5)
    for j in range(2):
        expected = Deformation(drawn[:, j : j + 1]).orbit(maps[:, j])[:, 0]
        torch.testing.assert_close(acted[:, j], expected)
    tiny = images(3, 2, 4, 2, 2)
    assert torch.equal(transform.act(tiny, input_size=(28, 28)), tiny)
    with pytest.raises(ValueError, match="channels last"):
        transform.act(images(3, 2, 14, 14, 4), input_size=(28, 28))


def test_fields_take_part_in_compositions_and_draw_independently_of_their_other_parts() -> None:
    x = images(2, 1, 12, 12, dtype=torch.float32)
    moved = Diffeomorphism(2).orbit(x, seed=3)
    both = Compose([Diffeomorphism(2), Flip()]).orbit(x, seed=3)
    assert torch.equal(both, torch.stack([moved[:, 0], moved[:, 1].flip(-1)], dim=1))
    twice = Compose([Diffeomorphism(2), Diffeomorphism(2)]).orbit(x, seed=3)
    again = torch.stack([Diffeomorphism(2).orbit(moved[:, j], seed=3)[:, j] for j in (0, 1)], dim=1)
    assert (twice - again).abs().max() > 0.05


def test_positions_keep_their_digits_under_autocast() -> None:
    x = images(2, 1, 28, 28, dtype=torch.float32)
    plain = Diffeomorphism(2).orbit(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(Diffeomorphism(2).orbit(x), plain)
