"""A result says so if a transform pads with zeros where the images' background is not zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope import zoo
from invariscope.engine.extras.padding import padding_notes
from invariscope.transforms.machinery.chosen import Chosen

DIGITS = zoo.load("mnist_subset", samples=80)
PLAIN, STANDARDISED = DIGITS.images, DIGITS.standardized().images


def photographs(samples: int = 16) -> Tensor:
    """Grey in the mean, with no background."""
    return torch.rand(samples, 3, 12, 12, generator=torch.Generator().manual_seed(0))


SAID = [
    iv.Rotation.circle(16),
    iv.Rotation([0, 5], jitter_deg=3),
    iv.Translation([(0, 0), (1, 0)]),
    iv.Scale([1, 0.7]),
    iv.Shear([0, 10]),
    iv.Grid(iv.Flip(), iv.Rotation([0, 30])),
    iv.Rotation([0, 30]).inverse(),
    iv.Compose([iv.Rotation([0, 30]), [torch.neg, torch.neg]]),
    Chosen(iv.Rotation([0, 30]), (0, 1)),
]
UNSAID = [
    iv.Rotation.circle(16, padding="border"),
    iv.Rotation.circle(16, padding="reflection"),
    iv.QuarterTurns(),
    iv.Rotation([0, 90, 180]),
    iv.Flip(),
    iv.Scale([1, 1.5]),
    iv.Elements([torch.neg, torch.abs]),
    iv.PeriodicTranslation(2, 2),
    iv.Compose([[torch.neg, torch.neg], iv.Rotation([0, 30])]),
]


@pytest.mark.parametrize("transform", SAID)
def test_zeros_around_images_that_are_dark_by_another_number_are_noted(transform) -> None:
    (note,) = padding_notes(transform, STANDARDISED)
    assert "does not fit the images' border, which is about -0.43 (median)" in note
    assert "padding='border'" in note


@pytest.mark.parametrize("transform", UNSAID)
def test_nothing_is_noted_if_padding_fits_or_nothing_moves_in(transform) -> None:
    assert padding_notes(transform, STANDARDISED) == []


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (PLAIN, 0),
        (PLAIN + 0.01, 0),  # a background of 0.01 is as good as none
        (1 - PLAIN, 1),
        (photographs(), 1),  # grey: zeros are darker than nine tenths of their border
        (photographs() - 0.5, 0),
        (photographs() - torch.tensor([0.5, 0.5, 2.5])[:, None, None], 1),
        (torch.full((4, 1, 6, 6), float("nan")), 0),
        (torch.randint(9, (4, 12), generator=torch.Generator().manual_seed(0)), 0),
    ],
)
def test_the_background_is_what_the_border_usually_holds(images, expected: int) -> None:
    assert len(padding_notes(iv.Rotation([0, 30]), images)) == expected


def test_the_median_is_that_of_the_channel_that_differs() -> None:
    images = torch.stack(
        [torch.randn(9, 9, generator=torch.Generator().manual_seed(1)), torch.full((9, 9), 3.0)]
    )
    (note,) = padding_notes(iv.Rotation([0, 30]), images[None].expand(4, -1, -1, -1))
    assert "about 3 (median)" in note


def test_the_note_reaches_the_result_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    for padding, expected in (("zeros", 1), ("border", 0)):
        result = iv.measure(model, STANDARDISED, iv.Rotation([0, 30], padding=padding), progress=False)
        assert sum("padding=" in note for note in result.provenance["notes"]) == expected
