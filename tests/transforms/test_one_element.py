"""A transform of a single element is refused with the options that add elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope.common.registry import snake_case
from invariscope.transforms.base import TRANSFORMS

FIELDS = 0.01 * torch.eye(2, dtype=torch.float64).view(2, 1, 1, 2).expand(2, 2, 2, 2)
STILL = [[1, 0, 0], [0, 1, 0]]
FACTORS: tuple[dict[str, Any], ...] = ({"factors": [1]}, {"factors": [1, 2]})
DEGREES: tuple[dict[str, Any], ...] = ({"degrees": [0]}, {"degrees": [0, 90]})
DRAWS: tuple[dict[str, Any], ...] = ({"draws": 1}, {"draws": 2})

# Options that leave one element, then options of which each adds a second one.
ONE: dict[type, tuple[dict[str, Any], ...]] = {
    iv.Affine: ({"matrices": [STILL]}, {"matrices": [STILL, STILL]}),
    iv.Blur: ({"sigmas_px": [0]}, {"sigmas_px": [0, 1]}),
    iv.Brightness: FACTORS,
    iv.Contrast: FACTORS,
    iv.Corruption: ({"kinds": "fog", "severities": [1]}, {"kinds": ["fog", "snow"]}, {"severities": [0, 1]}),
    iv.Crop: ({"size": 4}, {"shifts_px": [(0, 0), (1, 0)]}, {"degrees": [0, 90]}),
    iv.Deformation: ({"coefficients": FIELDS[:1]}, {"coefficients": FIELDS}),
    iv.DeformationLadder: ({"temperatures": [1e-3]}, {"temperatures": [1e-3, 1e-2]}),
    iv.Diffeomorphism: DRAWS,
    iv.DiffeomorphismAugmentation: ({}, {"draws": 2}),
    iv.Drawn: ({"function": torch.abs, "draws": 1}, {"draws": 2}),
    iv.Elements: ({"callables": [torch.abs]}, {"callables": [torch.abs, torch.neg]}),
    iv.Gain: ({"decibels": [0]}, {"decibels": [0, 1]}),
    iv.Gamma: ({"exponents": [1]}, {"exponents": [1, 2]}),
    iv.Hue: DEGREES,
    iv.JPEG: ({"qualities": [90]}, {"qualities": [90, 50]}),
    iv.Noise: ({"draws": 1, "norm": 1.0}, {"draws": 2}),
    iv.Orthogonal: ({"matrices": [np.eye(3)]}, {"matrices": [np.eye(3), -np.eye(3)]}),
    iv.PeriodicTranslation: ({"rows": 1, "columns": 1}, {"rows": 2}, {"columns": 2}),
    iv.Permutations: ({"places": [(0, 1)]}, {"places": [(0, 1), (1, 0)]}),
    iv.PitchShift: ({"semitones": [0]}, {"semitones": [0, 1]}),
    iv.RandomOrthogonal: DRAWS,
    iv.RandomPermutations: ({"draws": 1, "size": 3}, {"draws": 2}),
    iv.Rotation: DEGREES,
    iv.Saturation: FACTORS,
    iv.Scale: FACTORS,
    iv.Shear: FACTORS,
    iv.TimeShift: ({"steps": [0]}, {"steps": [0, 1]}),
    iv.Translation: ({"shifts_px": [(0, 0)]}, {"shifts_px": [(0, 0), (1, 0)]}),
}
FIXED = {"dihedral", "flip", "quarter_turns"}
OF_OTHERS = {"compose", "grid", "inverse", "on", "slices", "vector_field"}


def refused(transform: Any) -> str:
    with pytest.raises(ValueError, match="has 1 element; ") as caught:
        iv.measure(torch.nn.Flatten(), torch.zeros(4, 1, 8, 8), transform)
    return str(caught.value)


@pytest.mark.parametrize("family", ONE, ids=lambda family: family.__name__)
def test_a_transform_of_one_element_names_the_options_that_add_elements(family: type) -> None:
    given, *more = ONE[family]
    options = " or ".join(f"{name}=" for each in more for name in each)
    said = refused(family(**given))
    assert said.startswith(f"{family.__name__} has 1 element; ")
    assert said.endswith(f": add elements with {options}")
    assert all(len(family(**given | each)) == 2 for each in more)


def test_every_family_is_tried() -> None:
    tried = {snake_case(family.__name__) for family in ONE}
    assert tried | FIXED | OF_OTHERS == set(TRANSFORMS.names())
    assert all(len(TRANSFORMS.get(name)()) > 1 for name in FIXED)


STEPS = iv.Compose([iv.Rotation([0]), iv.Translation([(0, 0)])])
GRID = iv.Grid(iv.Rotation([0]), iv.Translation([(0, 0)]))
NESTED = [STEPS, STEPS.inverse(), GRID, iv.On(STEPS, "x"), iv.Slices(STEPS), iv.Noise(like=STEPS)]


@pytest.mark.parametrize("transform", NESTED, ids=lambda transform: type(transform).__name__)
def test_a_transform_of_others_names_the_options_of_its_parts(transform: Any) -> None:
    options = refused(transform).partition("add elements with ")[2]
    assert sorted(options.split(" or ")) == ["degrees=", "shifts_px="]
