"""Where pixels go, checked by hand, against torch's index operations and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from invariscope.transforms import (
    Affine,
    Dihedral,
    Flip,
    QuarterTurns,
    Rotation,
    Scale,
    Shear,
    Translation,
)

SCIPY_MODES = {"zeros": "grid-constant", "border": "nearest", "reflection": "reflect"}
every_padding = pytest.mark.parametrize("padding", sorted(SCIPY_MODES))


def noise(height: int, width: int, samples: int = 2, channels: int = 3) -> Tensor:
    return torch.randn(samples, channels, height, width, generator=torch.Generator().manual_seed(height))


def disc(height: int, width: int, radius: float, centre: tuple[float, float]) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    return (radius + 0.5 - distance).clamp(0, 1)[None, None].double()


def moments(image: Tensor) -> tuple[float, float, float, float]:
    """Centre (x, y) and standard deviations along x and y of an image's brightness."""
    weights = (image / image.sum()).squeeze()
    y, x = torch.meshgrid(*(torch.arange(size).double() for size in weights.shape), indexing="ij")
    cx, cy = float((weights * x).sum()), float((weights * y).sum())
    sx, sy = ((weights * (a - c) ** 2).sum().sqrt() for a, c in ((x, cx), (y, cy)))
    return cx, cy, float(sx), float(sy)


def test_ninety_degrees_turn_counter_clockwise_as_seen() -> None:
    image = torch.tensor([[[[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 3.0]]]])
    turned = Rotation([90]).orbit(image)[0, 0, 0]
    assert turned.tolist() == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_bright_spot_on_the_right_rises_under_a_small_positive_angle() -> None:
    spot = disc(41, 41, 3, (35, 20))
    for degrees in (10, 30, 100):
        cx, cy, *_ = moments(Rotation([degrees]).orbit(spot)[:, 0])
        assert cx == pytest.approx(20 + 15 * math.cos(math.radians(degrees)), abs=0.02)
        assert cy == pytest.approx(20 - 15 * math.sin(math.radians(degrees)), abs=0.02)


@pytest.mark.parametrize("side", [5, 6, 28])
def test_circle_of_sixteen_has_the_identity_and_rot90_bit_for_bit_on_squares(side: int) -> None:
    x = noise(side, side)
    rotation = Rotation.circle(16)
    orbit = rotation.orbit(x)
    assert [j for j in range(16) if rotation.exact[j]] == [0, 4, 8, 12]
    for quarter in range(4):
        assert torch.equal(orbit[:, 4 * quarter], torch.rot90(x, quarter, (-2, -1)))


@pytest.mark.parametrize("size", [(5, 8), (6, 9), (7, 30)])
def test_identity_and_half_turn_are_exact_on_rectangles(size: tuple[int, int]) -> None:
    x = noise(*size)
    orbit = Rotation([0, 180]).orbit(x)
    assert torch.equal(orbit[:, 0], x)
    assert torch.equal(orbit[:, 1], torch.rot90(x, 2, (-2, -1)))


def test_quarter_turns_and_dihedral_are_torchs_index_operations() -> None:
    x = noise(8, 8)
    for quarter in range(4):
        turned = torch.rot90(x, quarter, (-2, -1))
        assert torch.equal(QuarterTurns().orbit(x)[:, quarter], turned)
        assert torch.equal(Dihedral().orbit(x)[:, quarter], turned)
        mirrored = torch.rot90(x.flip(-1), quarter, (-2, -1))
        assert torch.equal(Dihedral().orbit(x)[:, 4 + quarter], mirrored)


@pytest.mark.parametrize(
    ("direction", "axes"), [("horizontal", [()]), ("vertical", [()]), ("both", [(-1,), (-2,)])]
)
def test_flips_are_torchs_flips_on_any_shape(direction: str, axes: list) -> None:
    x = noise(5, 8)
    last = {"horizontal": (-1,), "vertical": (-2,), "both": (-1, -2)}[direction]
    expected = [x, *(x.flip(axis) for axis in axes if axis), x.flip(last)]
    assert torch.equal(Flip(direction).orbit(x), torch.stack(expected, dim=1))


def test_special_values_survive_exact_elements() -> None:
    x = torch.tensor([[[[-0.0, float("inf")], [float("nan"), 1e-42]]]])
    turned = QuarterTurns().orbit(x)
    for quarter in range(4):
        expected = torch.rot90(x, quarter, (-2, -1)).contiguous()
        assert torch.equal(turned[:, quarter].contiguous().view(torch.int32), expected.view(torch.int32))


def test_positive_shifts_go_right_and_down() -> None:
    image = torch.zeros(1, 1, 4, 5)
    image[0, 0, 1, 1] = 7
    moved = Translation([(2, 1)]).orbit(image)
    assert (moved[0, 0, 0] == 7).nonzero().tolist() == [[2, 3]]


@every_padding
def test_whole_shifts_are_exact_and_leave_the_padding_behind(padding: str) -> None:
    x = noise(6, 9)
    modes = {"zeros": {"mode": "constant"}, "border": {"mode": "edge"}, "reflection": {"mode": "symmetric"}}
    orbit = Translation.grid(3, padding=padding).orbit(x)
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)], **modes[padding])
    for j, (dx, dy) in enumerate(Translation.grid(3).shifts_px):
        row, column = 3 - int(dy), 3 - int(dx)
        assert np.array_equal(orbit[:, j].numpy(), padded[..., row : row + 6, column : column + 9])


def test_fractional_shift_is_the_weighted_mean_of_neighbours() -> None:
    row = torch.tensor([[[[0.0, 1.0, 4.0, 9.0]]]], dtype=torch.float64)
    moved = Translation([(0.25, 0)]).orbit(row)[0, 0, 0, 0]
    torch.testing.assert_close(moved[1:], 0.75 * row[0, 0, 0, 1:] + 0.25 * row[0, 0, 0, :-1])


def scipy_affine(x: Tensor, matrix: np.ndarray, padding: str, order: int) -> np.ndarray:
    """scipy's sampling of one image with the inverse of a forward (x, y) matrix about the centre."""
    swap = np.array([[0, 1], [1, 0]])
    back = np.linalg.inv(swap @ matrix[:, :2] @ swap)
    centre = (np.array(x.shape) - 1) / 2
    offset = centre - back @ (centre + matrix[::-1, 2])
    return ndimage.affine_transform(x.numpy(), back, offset, order=order, mode=SCIPY_MODES[padding], cval=0.0)


@every_padding
@pytest.mark.parametrize("size", [(28, 28), (21, 34)])
def test_bilinear_sampling_agrees_with_scipy_everywhere(padding: str, size: tuple[int, int]) -> None:
    x = noise(*size, samples=1, channels=1).double()
    matrices = [[[1.1, 0.3, 2.5], [-0.2, 0.9, -1.25]], [[0.5, 0, 0], [0, 0.7, 0.3]]]
    orbit = Affine(matrices, padding=padding).orbit(x)
    for j, matrix in enumerate(matrices):
        expected = scipy_affine(x[0, 0], np.array(matrix), padding, order=1)
        np.testing.assert_allclose(orbit[0, j, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("degrees", [17.0, -60.0, 135.0])
def test_rotation_agrees_with_scipys_in_degrees(degrees: float) -> None:
    x = noise(25, 25, samples=1, channels=1).double()
    expected = ndimage.rotate(x[0, 0].numpy(), degrees, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(Rotation([degrees]).orbit(x)[0, 0, 0].numpy(), expected, atol=1e-12)


def test_nearest_takes_only_values_that_were_there() -> None:
    x = noise(12, 17, channels=1)
    orbit = Rotation([33], interpolation="nearest", padding="border").orbit(x)
    assert set(orbit.flatten().tolist()) <= set(x.flatten().tolist())


def test_bicubic_keeps_constants_and_hits_midpoints_of_straight_lines() -> None:
    ramp = torch.arange(12.0, dtype=torch.float64).expand(1, 1, 3, 12)
    moved = Translation([(0.5, 0), (0.3, 0)], interpolation="bicubic", padding="border").orbit(ramp)
    torch.testing.assert_close(moved[0, 0, 0, 1, 3:10], ramp[0, 0, 1, 3:10] - 0.5)
    flat = Rotation([20], interpolation="bicubic", padding="border").orbit(torch.full((1, 1, 9, 9), 3.0))
    torch.testing.assert_close(flat, torch.full_like(flat, 3.0))


@pytest.mark.parametrize("size", [(40, 64), (64, 40)])
def test_a_disc_stays_a_disc_on_rectangles(size: tuple[int, int]) -> None:
    height, width = size
    centre = (width - 1) / 2, (height - 1) / 2
    x = disc(height, width, 9, (centre[0] + 5, centre[1]))
    still = moments(x)
    for degrees in (30, 45, 90, 200):
        cx, cy, sx, sy = moments(Rotation([degrees]).orbit(x)[:, 0])
        assert (sx, sy) == pytest.approx(still[2:], rel=0.01)
        assert cx == pytest.approx(centre[0] + 5 * math.cos(math.radians(degrees)), abs=0.02)
        assert cy == pytest.approx(centre[1] - 5 * math.sin(math.radians(degrees)), abs=0.02)


def test_degrees_are_degrees() -> None:
    """Angles taken for radians would turn 90 by 116.6 degrees and 180 by 233."""
    x = noise(9, 9)
    orbit = Rotation([90, 180, 360]).orbit(x)
    expected = [torch.rot90(x, quarter, (-2, -1)) for quarter in (1, 2, 0)]
    assert torch.equal(orbit, torch.stack(expected, dim=1))


def test_scale_two_is_twice_as_large() -> None:
    x = disc(41, 41, 5, (20, 20))
    _, _, sx, sy = moments(Scale([2]).orbit(x)[:, 0])
    assert (sx, sy) == pytest.approx([2 * value for value in moments(x)[2:]], rel=0.02)


@pytest.mark.parametrize(("direction", "expected"), [("horizontal", (3, 0)), ("vertical", (0, -3))])
def test_shear_leans_right_or_lifts_the_right_side(direction: str, expected: tuple[int, int]) -> None:
    x = disc(41, 41, 3, (20, 10) if direction == "horizontal" else (30, 20))
    before, after = moments(x), moments(Shear([0.3], direction=direction).orbit(x)[:, 0])
    assert (after[0] - before[0], after[1] - before[1]) == pytest.approx(expected, abs=0.02)


def test_shear_in_degrees_is_the_tangent() -> None:
    assert Shear.degrees([45, -45]).factors == (1.0, -1.0)
    assert Shear.degrees([30]).factors == pytest.approx([math.tan(math.pi / 6)])


def test_affine_moves_content_forward_in_pixels() -> None:
    x = noise(7, 10)
    moved = Affine([[[1, 0, 3], [0, 1, -1]], [[-1, 0, 0], [0, 1, 0]]]).orbit(x)
    assert torch.equal(moved[:, 0], Translation([(3, -1)]).orbit(x)[:, 0])
    assert torch.equal(moved[:, 1], x.flip(-1))


def test_group_tables_are_the_textbooks() -> None:
    cyclic = (np.arange(6)[:, None] + np.arange(6)) % 6
    assert np.array_equal(Rotation.circle(6).table(), cyclic)
    assert np.array_equal(QuarterTurns().table(), cyclic_of(4))
    assert np.array_equal(Flip().table(), [[0, 1], [1, 0]])
    table = Dihedral().table()
    assert table is not None
    assert table[4, 1] == 7  # a turn by 90° and then the mirror: the mirror and then a turn by 270°
    assert table[1, 4] == 5
    assert Rotation([0, 90, 180]).table() is None
    assert Rotation([0, 180, 360]).table() is None  # the identity twice


def cyclic_of(order: int) -> np.ndarray:
    return (np.arange(order)[:, None] + np.arange(order)) % order


def test_labels_say_degrees_pixels_and_jitter() -> None:
    assert Rotation.circle(16, start_deg=-180).labels[1] == "-157.5°"
    assert Rotation([10], jitter_deg=1).labels == ("10° ± 1°",)
    assert Translation([(3, -1), (0, 0)]).labels == ("(+3, -1) px", "(0, 0) px")
    assert Rotation.circle(16).parameters["angle_deg"][:2] == (0.0, 22.5)
    assert Rotation.circle(16, start_deg=-180).identity == 8


def test_constructors_list_what_they_promise() -> None:
    assert Rotation.range(-30, 30, 3).degrees == (-30, 0, 30)
    assert Rotation.within(30, 3) == Rotation.range(-30, 30, 3)
    assert (len(Rotation.within(30)), Rotation.within(30).identity) == (13, 6)
    assert Rotation.within(20, 4).identity is None
    assert Translation.range(0, 4, 3, direction="vertical").shifts_px == ((0, 0), (0, 2), (0, 4))
    assert Translation.grid(4, step=2).shifts_px[:6] == (
        (-4, -4),
        (-2, -4),
        (0, -4),
        (2, -4),
        (4, -4),
        (-4, -2),
    )
    assert Scale.range(0.5, 2, 3).factors == pytest.approx((0.5, 1, 2))
    assert Shear.range(0, 1, 2).factors == (0, 1)


def test_inverses_have_the_opposite_parameters() -> None:
    assert Rotation([10, -20]).inverse() == Rotation([-10, 20])
    assert Translation([(1, -2)]).inverse() == Translation([(-1, 2)])
    assert Scale([2, 0.5]).inverse() == Scale([0.5, 2])
    assert Shear([0.1]).inverse() == Shear([-0.1])
    assert Flip().inverse() == Flip()
    assert Rotation([10], jitter_deg=2).inverse().inverse() == Rotation([10], jitter_deg=2)
