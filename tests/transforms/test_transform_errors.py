"""What cannot work is refused with what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from invariscope.transforms import (
    Affine,
    Compose,
    Dihedral,
    Elements,
    Flip,
    Grid,
    Inverse,
    QuarterTurns,
    Rotation,
    Scale,
    Shear,
    Translation,
    as_transform,
)

VALUE_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Rotation([]), "degrees is empty: a transform needs at least one element"),
    (lambda: Rotation([0, math.nan]), r"degrees\[1\] must be finite; got nan"),
    (lambda: Rotation.circle(0), "m must be an integer, at least 1; got 0"),
    (lambda: Rotation.circle(4, start_deg=math.inf), "start_deg must be finite"),
    (lambda: Rotation([0], jitter_deg=-1), "at least 0; got -1"),
    (
        lambda: Rotation([0], interpolation="bilinaer"),
        "unknown interpolation 'bilinaer'. Closest: 'bilinear'",
    ),
    (lambda: Rotation([0], padding="reflect"), "unknown padding 'reflect'. Closest: 'reflection'"),
    (lambda: Scale([1, 0]), r"factors\[1\] is 0, which would shrink the image to a point"),
    (lambda: Scale([-1]), r"factors\[0\] is negative, -1: combine Scale with Rotation"),
    (lambda: Scale.range(0, 2, 3), "lo is 0"),
    (lambda: Shear([0.1], direction="diagonal"), "unknown direction 'diagonal'"),
    (lambda: Shear.degrees([90]), "a slant must lie between -90° and 90°; got 90°"),
    (lambda: Flip("horizontl"), "unknown direction 'horizontl'. Closest: 'horizontal'"),
    (lambda: Translation([]), "shifts_px is empty"),
    (lambda: Translation([(0, math.inf)]), "must be finite"),
    (lambda: Translation.grid(1, step=2), "step must not exceed radius; got 2 px and 1 px"),
    (lambda: Affine([[[1, 0, 0], [0, 1, 0]], [[1, 2, 0], [2, 4, 0]]]), r"matrices\[1\] flattens the image"),
    (lambda: Affine([[[0, 0, 0], [0, 0, 0]]]), r"matrices\[0\] flattens the image"),
    (lambda: Affine([[[1, 0], [0, 1]]]), r"2 × 3 matrices, one per element; got shape \(1, 2, 2\)"),
    (
        lambda: Affine([[[1, 0, 0], [0, 1, 0]]], names=["a", "b"]),
        "names must have one entry per element: expected 1, got 2",
    ),
    (lambda: Affine([[[1, 0, math.nan], [0, 1, 0]]]), "must be finite"),
    (lambda: Compose([]), "at least one part"),
    (lambda: Compose([Rotation.circle(4), Flip()]), r"have \[4, 2\] elements.*Grid for all combinations"),
    (lambda: Grid(), "Write Grid"),
    (lambda: Elements([]), "callables is empty"),
    (lambda: Elements([abs], labels=["a", "b"]), "labels must have one entry per element: expected 1, got 2"),
    (lambda: Elements([abs], parameters={"gain": [1, 2]}), "expected 1, got 2"),
    (lambda: Elements([abs], inverses=[abs, abs]), "inverses must have one entry per element"),
    (lambda: Elements([abs], identity=1), "identity must be the index of an element, 0 to 0; got 1"),
    (lambda: as_transform("rotatoin"), "unknown transform 'rotatoin'. Closest: 'rotation'"),
    (lambda: as_transform("affine"), "Affine has no default elements: it needs matrices"),
    (lambda: as_transform("grid"), "Grid has no default elements: it needs parts"),
]
TYPE_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Compose(Flip()), r"Compose takes its parts as a list, .*; got Flip"),
    (lambda: Compose(5), r"Compose takes its parts as a list, .*; got int"),
    (lambda: Rotation(45), "degrees must be a list of numbers, one per element; got 45"),
    (lambda: Rotation("45"), "degrees must be a list of numbers"),
    (lambda: Rotation(["a"]), r"degrees\[0\] must be a number; got 'a'"),
    (lambda: Translation([1, 2]), r"shifts_px\[0\] must be a pair \(dx, dy\)"),
    (lambda: Translation(3), r"shifts_px must be a list of \(dx, dy\) pairs"),
    (lambda: Affine([["a"]]), "2 × 3 matrices, .* of numbers"),
    (lambda: Elements([3]), "cannot be called on a batch: 3"),
    (lambda: Elements(3), "callables must be a list of callables on batches"),
    (lambda: Elements([Flip()]), "a transform with elements of its own: use Compose or Grid"),
    (lambda: Inverse(Elements([abs])), "no known inverse"),
    (lambda: as_transform(3), "got int"),
    (
        lambda: Rotation([1], interpolaton="nearest"),
        "of Rotation 'interpolaton'. Closest: 'interpolation'",
    ),
    (lambda: QuarterTurns(jitter_deg=1), "unknown option of QuarterTurns 'jitter_deg'.* Its options: none"),
    (lambda: as_transform(Rotation), "must be an instance, not a class: give Rotation"),
]


@pytest.mark.parametrize(("make", "message"), VALUE_ERRORS)
def test_a_wrong_value_is_refused_with_what_came(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("make", "message"), TYPE_ERRORS)
def test_a_wrong_kind_of_argument_is_refused_with_what_came(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(8, 28, 28), r"\(n, C, H, W\); got shape \(8, 28, 28\) of float32. Add the missing axis"),
        (torch.zeros(8, 10), r"got shape \(8, 10\) of float32. For data other than images, give callables"),
        (torch.zeros(8, 1, 0, 28), r"got shape \(8, 1, 0, 28\)"),
        (torch.zeros(8, 1, 28, 28, dtype=torch.uint8), r"of uint8. Convert first, e.g. x.float\(\) / 255"),
        (torch.zeros(8, 1, 4, 4, dtype=torch.complex64), "of complex64"),
    ],
)
def test_an_image_transform_says_which_data_came(x: torch.Tensor, message: str) -> None:
    for transform in (
        Rotation.circle(4),
        Flip(),
        Grid(Flip(), Translation.grid(1)),
        QuarterTurns().inverse(),
    ):
        with pytest.raises(TypeError, match=message):
            transform.orbit(x)


def test_exact_quarter_turns_refuse_rectangles_and_say_what_keeps_the_canvas() -> None:
    x = torch.zeros(2, 1, 4, 6)
    for transform in (QuarterTurns(), Dihedral(), Grid(Flip(), QuarterTurns()), QuarterTurns().inverse()):
        with pytest.raises(ValueError, match=r"got 4 × 6.*Rotation\(\[0, 90, 180, 270\]\)"):
            transform.orbit(x)
    with pytest.raises(ValueError, match="square"):
        QuarterTurns().act(torch.zeros(1, 4, 1, 4, 6))


def test_a_name_builds_the_family_with_its_defaults() -> None:
    assert as_transform("rotation") == Rotation.circle(16)
    assert as_transform("flip") == Flip()
    transform = Translation([(0, 0)])
    assert as_transform(transform) is transform
