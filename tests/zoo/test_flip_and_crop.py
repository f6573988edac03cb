"""Flips and crops: what they do to an image, and that (seed, epoch, sample) decides it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invariscope.zoo import build, load, train
from invariscope.zoo.flip_and_crop import FlipAndCrop

IMAGES = torch.arange(200 * 2 * 7 * 12, dtype=torch.float32).view(200, 2, 7, 12)
SAMPLES = torch.arange(200)
BOTH = FlipAndCrop(seed=3, flip=True, crop_px=4)


def view_of(image: np.ndarray, mirrored: bool, down: int, right: int) -> np.ndarray:
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="reflect")
    crop = padded[:, down : down + image.shape[1], right : right + image.shape[2]]
    return crop[:, :, ::-1] if mirrored else crop


def test_every_view_is_a_mirrored_crop_of_the_reflected_image_and_all_kinds_occur():
    seen = set()
    for image, found in zip(IMAGES.numpy(), BOTH(IMAGES, SAMPLES, epoch=1).numpy(), strict=True):
        kinds = [
            (mirrored, down, right)
            for mirrored in (False, True)
            for down in range(9)
            for right in range(9)
            if np.array_equal(found, view_of(image, mirrored, down, right))
        ]
        assert len(kinds) == 1
        seen |= {*kinds}
    assert {len({kind[axis] for kind in seen}) for axis in (1, 2)} == {9}
    assert len(seen) > 95  # of 162 kinds; 200 draws meet 115 on average


def test_half_of_the_images_are_mirrored_and_no_axis_depends_on_another():
    mirrored, down, right = BOTH._drawn(np.arange(20_000), epoch=0)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.02)
    for starts in (down, right):
        assert np.bincount(starts, minlength=9) / 20_000 == pytest.approx(np.full(9, 1 / 9), abs=0.02)
    assert np.abs(np.corrcoef(np.stack([mirrored, down, right])) - np.eye(3)).max() < 0.03


def test_a_view_depends_on_seed_epoch_and_sample_but_not_on_the_batch():
    whole = BOTH(IMAGES, SAMPLES, epoch=2)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    for part in order.split(37):
        assert torch.equal(BOTH(IMAGES[part], part, epoch=2), whole[part])
    same = IMAGES[:1].expand_as(IMAGES)
    assert len(torch.unique(BOTH(same, SAMPLES, epoch=2), dim=0)) > 100
    assert not torch.equal(BOTH(IMAGES, SAMPLES, epoch=3), whole)
    assert not torch.equal(FlipAndCrop(4, True, 4)(IMAGES, SAMPLES, epoch=2), whole)


def test_without_flip_or_crop_the_images_are_as_they_are():
    assert FlipAndCrop(seed=0)(IMAGES, SAMPLES, epoch=0) is IMAGES
    shifted = FlipAndCrop(seed=0, crop_px=2)(IMAGES, SAMPLES, epoch=0)
    assert (shifted[..., 1:] >= shifted[..., :-1]).float().mean() > 0.7  # not mirrored, but for reflections
    mirrored = FlipAndCrop(seed=0, flip=True)(IMAGES, SAMPLES, epoch=0)
    assert torch.equal(mirrored.sort(-1).values, IMAGES)


def test_training_shows_each_epoch_in_views_of_its_own():
    few, seen = load("mnist_subset", split="train", samples=64), []

    class Watching:
        def random(self, x, *, generator):
            seen.append(x.clone())
            return x

        def describe(self):
            return {}

    model = build("fully_connected", width=4)
    train(model, few, epochs=2, batch_size=64, flip=True, crop_px=4, augmentation=Watching(), seed=3)
    wanted = [BOTH(few.images, torch.arange(64), epoch=epoch) for epoch in (0, 1)]
    for images, shown in zip(wanted, seen, strict=True):
        rows = (sorted(map(tuple, x.flatten(1).tolist())) for x in (images, shown))
        assert next(rows) == next(rows)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (torch.zeros(4, 3, 4, 9), {"crop_px": 4}, r"more than crop_px pixels.*\(4, 3, 4, 9\)"),
        (torch.zeros(4, 9), {"flip": True}, r"images \(sample, C, H, W\).*training data \(4, 9\)"),
        (torch.zeros(4, 3, 9, 9), {"crop_px": -1}, r"crop_px must be an integer, at least 0; got -1"),
    ],
)
def test_data_that_cannot_be_moved_are_refused(data, options, message):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        train(torch.nn.Linear(9, 2), (data, torch.arange(4) % 2), epochs=1, **options)
