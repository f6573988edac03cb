"""Cards of transforms: what they do to a small picture, or a table of their elements."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import invariscope as iv
from cards_html import seen
from invariscope.transforms.base import TRANSFORMS, Transform
from invariscope.transforms.machinery.strip import SIDE, picture

EXAMPLES = [
    pytest.param(one, id=f"{name}-{k}")
    for name, cls in TRANSFORMS.classes().items()
    for k, one in enumerate(cls.examples())
]
MOST = 60_000


def card(transform):
    return seen(transform._repr_html_(), most=MOST)


@pytest.mark.parametrize("transform", EXAMPLES)
def test_every_transform_has_a_small_card(transform):
    before = torch.get_rng_state()
    shown = card(transform)
    assert bool(shown.images) != bool(shown.rows)
    assert shown.images or transform.labels[0] in shown.text
    assert len(shown.images) <= 8
    assert torch.equal(torch.get_rng_state(), before)


def test_the_strip_shows_the_orbit_of_the_picture():
    transform = iv.QuarterTurns()
    shown = card(transform)
    orbit = (255 * transform.orbit(picture())[0, :, 0]).round().numpy()
    pixels = [np.asarray(Image.open(BytesIO(image))) for image in shown.images]
    np.testing.assert_array_equal(pixels, orbit)
    assert all(label in shown.text for label in transform.labels)


def test_the_picture_has_no_symmetry_of_the_square():
    orbit = [
        turned for flip in iv.Flip().orbit(picture())[0] for turned in iv.QuarterTurns().orbit(flip[None])[0]
    ]
    assert all((a - b).abs().max() > 0.5 for k, a in enumerate(orbit) for b in orbit[:k])
    assert picture().shape == (1, 1, SIDE, SIDE)


def test_of_many_elements_eight_are_shown():
    assert "8 of them shown" in card(iv.Rotation.circle(360)).text
    assert len(card(iv.Rotation.circle(360)).images) == 8
    assert "180°" in card(iv.Rotation.circle(16)).text
    assert "30°" in card(iv.Rotation.range(-30, 30, 13)).text


def test_functions_are_not_called_only_to_display_them():
    called = []

    def spy(x):
        called.append(x)
        return x

    for transform in (
        iv.Elements([spy, spy]),
        iv.Drawn(spy, draws=3),
        iv.Compose([iv.Flip(), iv.Elements([spy])]),
    ):
        assert not card(transform).images
    assert called == []


def test_a_transform_of_other_data_lists_its_elements():
    shown = card(iv.Orthogonal(np.stack([np.eye(3), -np.eye(3)]), names=["same", "inverted"]))
    assert shown.rows == 3
    assert "inverted" in shown.text


@dataclass(frozen=True)
class _Broken(Transform):
    """Raises whatever is asked of it."""

    @classmethod
    def examples(cls):
        return ()

    def _traits(self):
        raise RuntimeError("no traits")

    def check(self, x):
        raise RuntimeError("no check")

    def inverse(self):
        raise RuntimeError("no inverse")

    def table(self):
        raise RuntimeError("no table")

    def apply(self, values, motion):
        raise RuntimeError("no values")

    def __repr__(self):
        raise RuntimeError("no repr")


def test_a_broken_transform_can_still_be_displayed():
    shown = card(_Broken())
    assert "_Broken" in shown.text
    assert "cannot be shown" in shown.text
