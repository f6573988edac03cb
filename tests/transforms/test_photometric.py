"""Photometric transforms against other libraries and formulas, pixel by pixel."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

import invariscope as iv
from invariscope.catalog.expressions import read_transform

FAMILIES = [iv.Brightness, iv.Contrast, iv.Gamma, iv.Hue, iv.Saturation, iv.Blur, iv.JPEG]
every_family = pytest.mark.parametrize("family", FAMILIES)


def images(n: int = 2, channels: int = 3, height: int = 12, width: int = 17) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)


def of(transform: iv.transforms.Transform, x: torch.Tensor) -> np.ndarray:
    """The only element's result, (sample, row, column, channel)."""
    return transform.orbit(x)[:, 0].movedim(1, -1).numpy()


@pytest.mark.parametrize(
    ("family", "enhance"),
    [
        (iv.Brightness, ImageEnhance.Brightness),
        (iv.Contrast, ImageEnhance.Contrast),
        (iv.Saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_factors_do_what_they_do_in_pillow(family, enhance, factor):
    bytes_ = (images() * 255).round()
    found = of(family([factor]), bytes_ / 255) * 255
    for image, ours in zip(bytes_.movedim(1, -1).numpy().astype(np.uint8), found, strict=True):
        theirs = np.asarray(enhance(Image.fromarray(image)).enhance(factor), dtype=float)
        assert np.abs(ours - theirs).max() <= 1 + factor  # Pillow rounds the grey, and the result


@pytest.mark.parametrize("exponent", [0.3, 2.2])
def test_gamma_is_a_power_and_its_reciprocal_undoes_it(exponent):
    x = images()
    np.testing.assert_allclose(of(iv.Gamma([exponent]), x), x.movedim(1, -1).numpy() ** exponent, rtol=1e-12)
    torch.testing.assert_close(iv.Gamma([exponent]).round_trip(x)[:, 0], x)
    assert iv.Gamma([0.5, 2]).inverse() == iv.Gamma([2, 0.5])


@pytest.mark.parametrize("degrees", [-100.0, 40.0, 180.0, 359.0])
def test_hue_is_that_of_colorsys_pixel_by_pixel(degrees):
    x = images(height=5)
    x[0, :, 0, :4] = torch.tensor([[0.0, 1.0, 0.3, 0.7]] * 3)  # greys
    x[0, :, 1, 0] = torch.tensor([0.6, 0.6, 0.1])  # two channels tie
    found = of(iv.Hue([degrees]), x)
    for place in np.ndindex(found.shape[:3]):
        h, s, v = colorsys.rgb_to_hsv(*x[place[0], :, place[1], place[2]].tolist())
        expected = colorsys.hsv_to_rgb((h + degrees / 360) % 1, s, v)
        np.testing.assert_allclose(found[place], expected, atol=1e-12)


def test_hues_around_the_circle_are_a_group_and_others_are_not():
    cyclic = (np.arange(6)[:, None] + np.arange(6)) % 6
    assert np.array_equal(iv.Hue.circle(6).table(), cyclic)
    assert iv.Hue([0, 30]).table() is None
    assert iv.Hue([0, 360]).table() is None
    assert iv.Hue.within(30, 3).degrees == (-30, 0, 30)
    assert iv.Hue([360, 20]).identity == 0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 30.0])
def test_blur_is_scipys_gaussian_filter_also_beyond_the_size_of_the_image(sigma):
    x = images()
    expected = gaussian_filter(x.numpy(), (0, 0, sigma, sigma))
    np.testing.assert_allclose(iv.Blur([sigma]).orbit(x)[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels):
    x = (images(channels=channels) * 255).round() / 255
    found = of(iv.JPEG([40]), x)
    for image, ours in zip((x * 255).round().movedim(1, -1).numpy().astype(np.uint8), found, strict=True):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=40)
        theirs = np.asarray(Image.open(file)).reshape(image.shape)
        np.testing.assert_allclose(ours, theirs / 255, atol=1e-12)


@every_family
def test_another_range_gives_the_same_images_in_that_range(family):
    x = images()
    expected = 2 * family().orbit(x) - 1
    torch.testing.assert_close(family(low=-1).orbit(2 * x - 1), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(family(high=255).orbit(255 * x), 255 * family().orbit(x), atol=1e-6, rtol=0)


@every_family
def test_results_stay_in_the_range_and_identities_are_untouched(family):
    x = images()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1 + 2e-4, -2e-4  # what resizing may leave
    orbit = family().orbit(x)
    chosen = [j for j in range(len(family())) if j != family().identity]
    assert 0 <= orbit[:, chosen].min() <= orbit[:, chosen].max() <= 1
    if family().identity is not None:
        assert torch.equal(orbit[:, family().identity], x)


@every_family
def test_half_precision_is_computed_in_single_precision(family):
    x = images(height=32, width=32).to(torch.float16)
    exact = family().orbit(x.float())
    assert torch.equal(family().orbit(x), exact.to(torch.float16))


@every_family
def test_normalised_images_are_refused_with_the_place_to_normalise(family):
    x = images()
    name = family.__name__
    with pytest.raises(
        ValueError, match=rf"{name} acts on values from 0 to 1; got values from -.*preprocess="
    ):
        family().orbit((x - 0.5) / 0.2)
    with pytest.raises(ValueError, match=rf"x / 255, or give their range: {name}\(..., low=0, high=255\)"):
        family().orbit(255 * x)
    with pytest.raises(TypeError, match=r"x\.float"):
        family().orbit((255 * x).to(torch.uint8))
    with pytest.raises(TypeError, match="action on feature maps is not known"):
        family().act(x[:, None].expand(-1, len(family()), -1, -1, -1))


@pytest.mark.parametrize("family", [iv.Hue, iv.Saturation, iv.JPEG])
def test_colours_need_the_right_number_of_channels(family):
    with pytest.raises(TypeError, match=r"channels?; got shape \(2, 2, 12, 17\)"):
        family().orbit(images(channels=2))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iv.Brightness([0.5, -1]), r"factors\[1\] must be at least 0; got -1"),
        (lambda: iv.Brightness([]), "factors is empty"),
        (lambda: iv.Contrast([float("nan")]), "must be finite"),
        (lambda: iv.Gamma([0]), r"exponents\[0\] must be above 0"),
        (lambda: iv.Gamma([1000]), "from 0.01 to 100; got 1000"),
        (lambda: iv.Blur([10**6]), r"sigmas_px\[0\] must be from 0 to 1000"),
        (lambda: iv.JPEG([0]), r"qualities\[0\] must be from 1 to 100; got 0"),
        (lambda: iv.JPEG([50.5]), "must be a whole number; got 50.5"),
        (lambda: iv.Brightness(low=1), "high must be greater than low; got low=1 and high=1"),
        (lambda: iv.Hue.within(0), "reach_deg must be above 0"),
    ],
)
def test_a_wrong_option_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("family", [iv.Brightness, iv.Hue, iv.JPEG])
def test_a_single_number_is_refused_with_the_list_that_was_meant(family):
    with pytest.raises(TypeError, match="must be a list of numbers"):
        family(30)


def test_the_command_line_reads_them():
    assert read_transform("brightness([0.5, 1, 2])") == iv.Brightness([0.5, 1, 2])
    assert read_transform("hue.circle(6)") == iv.Hue.circle(6)
    assert read_transform("jpeg") == iv.JPEG()
    assert read_transform("grid(flip(), gamma([1, 2]))") == iv.Grid(iv.Flip(), iv.Gamma([1, 2]))


def test_pillow_images_keep_their_bytes_under_the_identity_and_are_compressed_as_they_are():
    bytes_ = (images(1) * 255).round().to(torch.uint8)[0].movedim(0, -1).numpy()
    sample = Image.fromarray(bytes_)
    bright, dark = iv.Brightness([1, 0.5]).orbit([sample])[0]
    assert np.array_equal(np.asarray(bright), bytes_)
    np.testing.assert_allclose(np.asarray(dark, dtype=float), bytes_ / 2, atol=0.5)


def test_a_normalising_model_is_measured_with_preprocess():
    x = images(16).float()
    summed = lambda batch: {"sum": batch.flatten(1).sum(1, keepdim=True)}  # noqa: E731
    normalise = lambda batch: (batch - 0.5) / 0.2  # noqa: E731
    result = iv.measure(
        summed,
        x,
        iv.Brightness([1, 0.5]),
        measures="transformation_variance",
        preprocess=normalise,
        intervals=False,
        progress=False,
    )
    responses = torch.stack([normalise(x).flatten(1).sum(1), normalise(x / 2).flatten(1).sum(1)], dim=1)
    expected = responses.double().var(1).mean()
    assert result.table["value"].iloc[-1] == pytest.approx(float(expected), rel=1e-4)
