"""Corruptions: each does what it says, grows with its severity, and belongs to the sample."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from invariscope.zoo import CORRUPTIONS, ImageData, corrupted, load

DIGITS = load("mnist_subset", samples=64)


def of(images: torch.Tensor) -> ImageData:
    return ImageData("made", "test", images, torch.zeros(len(images), dtype=torch.long), ("only",))


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_a_higher_severity_moves_images_further_and_none_leaves_the_range(kind):
    worse = [corrupted(DIGITS, f"{kind}:{severity}") for severity in (1, 2, 3, 4, 5)]
    moved = [float((data.images - DIGITS.images).square().mean()) for data in worse]
    assert moved[0] > 0
    assert moved == sorted(moved)
    assert all(0 <= float(data.images.min()) <= float(data.images.max()) <= 1 for data in worse)
    assert worse[2].name == f"mnist_subset, {kind}:3"
    assert torch.equal(worse[2].labels, DIGITS.labels)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_an_image_is_corrupted_alike_whatever_comes_after_it(kind):
    few = ImageData("few", "test", DIGITS.images[:5], DIGITS.labels[:5], DIGITS.classes)
    assert torch.equal(corrupted(few, f"{kind}:3").images, corrupted(DIGITS, f"{kind}:3").images[:5])


def test_noise_has_the_stated_deviation_and_another_seed_is_other_noise():
    grey = of(torch.full((40, 1, 28, 28), 0.5))
    noise = corrupted(grey, "gaussian_noise:1").images - 0.5
    assert float(noise.std()) == pytest.approx(0.08, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.002)
    assert not torch.equal(corrupted(grey, "gaussian_noise:1", seed=1).images, noise + 0.5)


def test_a_blurred_dot_has_the_stated_width_and_keeps_its_light():
    dot = torch.zeros(1, 1, 21, 21)
    dot[0, 0, 10, 10] = 1
    spread = corrupted(of(dot), "blur:3").images[0, 0]
    places = torch.arange(21.0) - 10
    assert float(spread.sum()) == pytest.approx(1, rel=1e-5)
    for axis in (0, 1):
        assert float((spread.sum(axis) * places**2).sum()) == pytest.approx(1.2**2, rel=0.01)


def test_contrast_brightness_and_pixels_by_hand():
    image = torch.tensor([[[[0.2, 0.6], [0.2, 0.6]]]])
    assert torch.allclose(corrupted(of(image), "contrast:2").images[0, 0, 0], torch.tensor([0.268, 0.532]))
    assert torch.allclose(corrupted(of(image), "brightness:5").images[0, 0, 0], torch.tensor([0.7, 1.0]))
    stairs = torch.arange(16.0).view(1, 1, 4, 4) / 16
    coarse = corrupted(of(stairs), "pixelate:2").images[0, 0]  # two pixels a side
    assert torch.allclose(coarse[:2, :2], torch.full((2, 2), 2.5 / 16))
    assert torch.allclose(coarse[2:, 2:], torch.full((2, 2), 12.5 / 16))


def test_a_jpeg_file_keeps_flat_blocks_and_rounds_to_bytes():
    flat = of(torch.full((2, 1, 16, 16), 0.3))
    assert torch.allclose(corrupted(flat, "jpeg:1").images, torch.tensor(76 / 255))  # 0.3 * 255 = 76.5, even
    colour = of(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    worse = corrupted(colour, "jpeg:1").images
    assert worse.shape == colour.images.shape
    assert torch.equal(worse, (worse * 255).round() / 255)


def test_jpeg_is_of_the_stated_quality():
    file = io.BytesIO()
    image = (DIGITS.images[3, 0] * 255).round().to(torch.uint8).numpy()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    read = torch.from_numpy(np.array(Image.open(file)))
    assert torch.equal((corrupted(DIGITS, "jpeg:1").images[3, 0] * 255).round().to(torch.uint8), read)


def test_jpeg_refuses_channels_that_are_not_colours():
    with pytest.raises(ValueError, match="1 or 3 channels; got 2"):
        corrupted(of(torch.zeros(1, 2, 8, 8)), "jpeg:1")


@pytest.mark.parametrize(
    ("name", "said"),
    [("blurr:3", "Closest: 'blur'"), ("blur", "severity from 1 to 5"), ("blur:6", "got 'blur:6'")],
)
def test_a_wrong_name_or_severity_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        corrupted(DIGITS, name)


def test_standardised_images_are_refused():
    with pytest.raises(ValueError, match="standardise after the corruption"):
        corrupted(DIGITS.standardized(), "blur:3")
