"""Windows of larger images: against slices, against rotations of the whole image, and their margins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import invariscope as iv


def images(height: int = 20, width: int = 23, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [(10, 11), (11, 10), (7, 7), (20, 23)])
def test_the_identity_is_the_central_window_and_whole_shifts_are_slices(size):
    x, (h, w) = images(), size
    top, left = (20 - h) // 2, (23 - w) // 2
    assert torch.equal(iv.Crop(size).orbit(x)[:, 0], x[..., top : top + h, left : left + w])
    if size != (20, 23):
        transform = iv.Crop.shifts(size, 3)
        assert all(transform.exact)
        assert len(transform) == 49
        orbit = transform.orbit(x)
        for j, (dx, dy) in enumerate(transform.shifts_px):
            row, column = top - int(dy), left - int(dx)
            assert torch.equal(orbit[:, j], x[..., row : row + h, column : column + w])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize(("whole", "size"), [((40, 42), (14, 12)), ((41, 43), (13, 13))])
def test_a_window_is_the_centre_of_the_image_that_is_rotated_and_then_shifted(whole, size, interpolation):
    x = images(*whole)
    shifts, degrees = [(0, 0), (2.4, -1.2), (0, 0), (-3, 2)], [0, 0, 25, -40]
    found = iv.Crop(size, shifts, degrees, interpolation=interpolation).orbit(x)
    given = {"interpolation": interpolation}
    moved = iv.Compose([iv.Rotation(degrees, **given), iv.Translation(shifts, **given)]).orbit(x)
    top, left = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2
    expected = moved[..., top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_with_an_odd_margin_rotations_are_about_the_centre_of_the_window():
    x = images(31, 31)
    window = iv.Crop(16, degrees=[0, 30]).orbit(x)
    torch.testing.assert_close(window, iv.Crop(16, degrees=[0, 30]).orbit(x[..., :30, :30]))


def test_quarter_turns_of_square_windows_are_exact():
    x = images()
    transform = iv.Crop(11, degrees=[0, 90, 180, -90])
    assert transform.exact == (True,) * 4
    orbit = transform.orbit(x)
    for j, quarters in enumerate((0, 1, 2, -1)):
        assert torch.equal(orbit[:, j], torch.rot90(orbit[:, 0], quarters, (-2, -1)))


CASES = [
    iv.Crop(10, [(0, 0), (2.5, -1)]),
    iv.Crop(9, [(0, 0), (4, 0), (0, -3)]),
    iv.Crop((8, 13), degrees=[0, 17, -63]),
    iv.Crop((9, 12), [(0, 0), (-2, 3)], [0, 40], interpolation="bicubic"),
    iv.Crop(11, [(0, 0), (0, 0.5)], [0, 5], interpolation="nearest"),
    iv.Crop.rotations(8, 45, 5),
    iv.Crop((6, 9), degrees=[0, 90]),
]


@pytest.mark.parametrize("transform", CASES, ids=str)
@pytest.mark.parametrize("odd", [(0, 0), (1, 0), (0, 1)])
def test_images_of_the_stated_size_suffice_and_smaller_ones_are_refused(transform, odd):
    least = transform._least_size()
    height, width = (size + more for size, more in zip(least, odd, strict=True))
    x = images(height, width)
    # What lies around the image does not matter: nothing outside is read.
    around = [F.pad(x, (6,) * 4, value=value) for value in (0.0, 9.0)]
    expected = transform.orbit(x)
    for wider in around:
        torch.testing.assert_close(transform.orbit(wider), expected, atol=1e-9, rtol=0)
    for axis in (2, 3):
        small = images(*least).narrow(axis, 0, least[axis - 2] - 1)
        with pytest.raises(ValueError, match=f"must be at least {least[0]} × {least[1]} "):
            transform.orbit(small)


def test_the_stated_size_is_the_smallest_for_whole_shifts_and_rotations():
    assert iv.Crop(10)._least_size() == (10, 10)
    assert iv.Crop.shifts(10, 3)._least_size() == (16, 16)
    assert iv.Crop(10, [(0, 0), (-3, 0)])._least_size() == (10, 15)  # the spare pixel is to the right
    assert iv.Crop(10, [(0, 0), (3, 0)])._least_size() == (10, 16)
    half = (11 - 1) / 2 * 2**0.5  # corners are 7.07 px from the centre
    assert iv.Crop.rotations(11, 45, 3)._least_size() == (2 * int(np.ceil(half)) + 1,) * 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iv.Crop(0), "size must be an integer, at least 1"),
        (lambda: iv.Crop((3, 4, 5)), r"size must be one number, or \(height, width\)"),
        (lambda: iv.Crop(8, [(1, 0)]), "needs the central window among its elements.*add the shift"),
        (lambda: iv.Crop(8, [(0, 0), (1, 1)], [0, 1, 2]), "or a single one; got 2 and 3"),
        (lambda: iv.Crop(8, []), "shifts_px is empty"),
        (lambda: iv.Crop.rotations(8, 30, 4), "m must be odd, so that 0° is among the angles; got 4"),
        (lambda: iv.Crop.shifts(8, 1, step=2), "step must not exceed reach_px; got 2 px and 1 px"),
        (lambda: iv.Crop(8, interpolation="linear"), "unknown interpolation 'linear'"),
        (lambda: iv.Crop(10**5).orbit(images()), "leaves images of 20 × 23"),
    ],
)
def test_a_wrong_window_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_shifts_that_are_no_pairs_are_refused():
    for shifts in (3, "ab", [1, 2], [(0, 0), (1,)]):
        with pytest.raises(TypeError, match=r"shifts_px.*\(dx, dy\)"):
            iv.Crop(8, shifts)


def test_labels_and_parameters_name_shift_and_angle():
    transform = iv.Crop(8, [(0, 0), (1, -2), (0, 0), (3, 0)], [0, 0, 20, -5])
    assert transform.labels == ("centre", "(+1, -2) px", "20°", "-5°, (+3, 0) px")
    assert transform.parameters["angle_deg"] == (0, 0, 20, -5)
    assert transform.parameters["shift_y_px"] == (0, -2, 0, 0)
    assert iv.Crop.rotations(8, 30).identity == 6


def test_photographs_of_different_sizes_give_windows_of_one_size():
    samples = [
        Image.fromarray((255 * image).round().to(torch.uint8).movedim(0, -1).numpy())
        for image in (images(30, 40)[0], images(25, 33)[1])
    ]
    orbit = iv.Crop(16, degrees=[0, 20]).orbit(samples)
    assert {window.size for window in orbit.flat} == {(16, 16)}
    assert np.array_equal(np.asarray(orbit[0, 0]), np.asarray(samples[0])[7:23, 12:28])


def flattened(batch: torch.Tensor) -> dict[str, torch.Tensor]:
    assert batch.shape[1:] == (3, 12, 12)  # nothing but windows is forwarded
    return {"pixels": batch.flatten(1)}


MEASURES = [
    "normalized_variance",
    "stability",
    "goodfellow",
    "information",
    "consistency",
    "gradient_norm",
    "layer_stability_curve",
]


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_compare_with_the_central_window(measure):
    """They see what they see if the windows are cut beforehand and shifted periodically."""
    tile = images(12, 12, n=24).float()
    x = tile.repeat(1, 1, 3, 3)[..., 10:-10, 10:-10]  # 16 × 16; the central window is a rolled tile
    centre = x[..., 2:14, 2:14]
    crop = iv.Crop(12, [(0, 0), (1, -2), (2, 0)])
    rolls = [lambda x: x, lambda x: x.roll((-2, 1), (-2, -1)), lambda x: x.roll(2, -1)]
    rolled = iv.Elements(rolls, identity=0)
    given = {"measures": measure, "progress": False, "intervals": False, "ids": list(range(24))}
    model = torch.nn.Flatten() if measure == "gradient_norm" else flattened
    if measure == "consistency":
        given["output"] = "pixels"
    found, expected = iv.measure(model, x, crop, **given), iv.measure(model, centre, rolled, **given)
    assert len(found.table) == len(expected.table) > 0
    np.testing.assert_allclose(found.table["value"], expected.table["value"], rtol=1e-5, equal_nan=True)


def test_a_crop_without_an_untouched_window_is_refused_by_measures():
    chain = iv.Compose([iv.Crop(8), iv.Rotation([10, 20])])
    model = torch.nn.Flatten()
    with pytest.raises(ValueError, match="none of its elements is the identity"):
        iv.measure(model, images(n=16).float(), chain, measures="stability", progress=False)
