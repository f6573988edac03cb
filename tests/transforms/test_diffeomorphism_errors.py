"""What cannot be deformed, or not so, is refused with what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from invariscope.transforms import Deformation, Diffeomorphism, DiffeomorphismAugmentation, Inverse

BAD = torch.zeros(1, 2, 2, 2)
BAD[0, 1, 0, 1] = math.inf

VALUE_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Diffeomorphism(0), "draws must be an integer, at least 1; got 0"),
    (lambda: Diffeomorphism(c=1), "displacement='exact' with cutoff='code', or c of at least 2"),
    (lambda: Diffeomorphism.temperature_of(1, 28, 1), "ln 1 = 0"),
    (lambda: Diffeomorphism.allowed_range(28, 1), "ln 1 = 0"),
    (lambda: Diffeomorphism(c=1, cutoff="paper", displacement="exact"), "leaves no mode at c = 1"),
    (lambda: Diffeomorphism(c=1, cutoff="paper", temperature=1e-3), "leaves no mode at c = 1"),
    (lambda: Diffeomorphism(c=2.5), "c must be an integer, at least 1; got 2.5"),
    (lambda: Diffeomorphism(c=0), "c must be an integer, at least 1; got 0"),
    (lambda: Diffeomorphism(delta_px=0), "delta_px must be above 0; got 0"),
    (lambda: Diffeomorphism(delta_px=(1, 2, 3)), r"one number or a pair \(x, y\); got 3"),
    (lambda: Diffeomorphism(delta_px=math.nan), "delta_px must be finite"),
    (lambda: Diffeomorphism(temperature=-1), "temperature must be above 0; got -1"),
    (lambda: Diffeomorphism(temperature=1e-3, delta_px=1), "give only one"),
    (lambda: Diffeomorphism(cutoff="papr"), "unknown cutoff 'papr'. Closest: 'paper'"),
    (lambda: Diffeomorphism(displacement="exct"), "Closest: 'exact'"),
    (lambda: Diffeomorphism(scale="m"), "unknown scale 'm'"),
    (lambda: Diffeomorphism(interpolation="bicubic"), "Closest: 'cubic'"),
    (lambda: Diffeomorphism(preset="petrini"), "Closest: 'petrini2021'"),
    (lambda: Diffeomorphism().coefficients([0]), r"give size=\(H, W\)"),
    (lambda: Diffeomorphism().orbit(torch.zeros(1, 1, 4, 9)), "at least 5 × 5 pixels; got 4 × 9. Lower c"),
    (lambda: Diffeomorphism(c=30).orbit(torch.zeros(1, 1, 28, 28)), "up to 30 half waves.*got 28 × 28"),
    (
        lambda: Diffeomorphism(temperature=1.0, reject_folded=True).coefficients([0]),
        "nearly all fields fold",
    ),
    (lambda: Deformation(torch.zeros(2, 3, 3)), r"\(element, 2, p, q\).*got shape \(2, 3, 3\)"),
    (lambda: Deformation(torch.zeros(1, 3, 2, 2)), r"the axis of length 2; got shape \(1, 3, 2, 2\)"),
    (lambda: Deformation(torch.zeros(0, 2, 2, 2)), r"got shape \(0, 2, 2, 2\)"),
    (lambda: Deformation(BAD), r"1 of 8 are not, the first at \(0, 1, 0, 1\)"),
    (
        lambda: Deformation(torch.zeros(2, 1, 2, 1, 1)).orbit(torch.zeros(3, 1, 8, 8)),
        "for 2 samples, but not for sample 2",
    ),
    (
        lambda: Deformation(torch.zeros(1, 2, 1, 1)).orbit(torch.zeros(1, 1, 2, 8)),
        "got 2 × 8. Enlarge the images",
    ),
    (lambda: DiffeomorphismAugmentation(c_range=(3, 2)), r"got \(3, 2\)"),
    (
        lambda: DiffeomorphismAugmentation(c_range=(1, 2)),
        r"c_range\[0\] must be an integer, at least 2; got 1",
    ),
    (lambda: DiffeomorphismAugmentation(c_beta=(0, 1)), r"c_beta\[0\] must be above 0; got 0"),
    (lambda: DiffeomorphismAugmentation().coefficients([0]), r"give size=\(H, W\)"),
    (
        lambda: DiffeomorphismAugmentation(c_range=(2, 7)).orbit(torch.zeros(1, 1, 10, 10)),
        "c = 7 allows no temperature on 10 pixels.*Lower c_range",
    ),
]
TYPE_ERRORS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: Diffeomorphism().orbit(torch.zeros(2, 16, 8)),
        r"For sequences \(n, length, features\), use Noise",
    ),
    (lambda: Diffeomorphism().orbit(torch.zeros(2, 16, dtype=torch.int64)), "Elements"),
    (lambda: Diffeomorphism().orbit(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)), r"x.float\(\) / 255"),
    (lambda: Diffeomorphism(delta_px="1px"), "delta_px must be a number; got '1px'"),
    (lambda: Diffeomorphism(temprature=1), "Closest: 'temperature'"),
    (lambda: Diffeomorphism().inverse(), "infinitely many modes"),
    (lambda: Inverse(Diffeomorphism()), "no known inverse"),
    (lambda: Diffeomorphism.from_coefficients("bend"), "got str"),
    (lambda: DiffeomorphismAugmentation(c_range=3), "c_range must be a pair; got 3"),
]


@pytest.mark.parametrize(("make", "message"), VALUE_ERRORS)
def test_a_wrong_value_is_refused_with_what_came(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("make", "message"), TYPE_ERRORS)
def test_a_wrong_kind_of_argument_is_refused_with_what_came(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_there_is_no_group() -> None:
    assert Diffeomorphism().table() is None
    assert Deformation(BAD.nan_to_num(posinf=0)).table() is None
