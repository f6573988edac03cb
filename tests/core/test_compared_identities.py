"""`iv.compare` pairs results only if data and transform are the same, and says what differs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.common.differences import differences

pytestmark = pytest.mark.usefixtures("seeded")
IMAGES = torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    return nn.Conv2d(1, 2, 3)


def measured(
    net: nn.Module, transform: Any, data: Any = IMAGES, label: str = "one", **options: Any
) -> iv.Result:
    return iv.measure(net, data, transform, progress=False, label=label, **options)


def scaled(factor: float) -> Any:
    return lambda x: x * factor


class Flipped:
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(self.axis)


PAIRS = {
    "code": (lambda x: x.flip(3), lambda x: x * 3),
    "closure": (scaled(2.0), scaled(3.0)),
    "state": (Flipped(2), Flipped(3)),
}


@pytest.mark.parametrize("what", PAIRS)
def test_functions_with_equal_names_are_told_apart(what, net):
    one, other = (iv.Elements([torch.abs, function]) for function in PAIRS[what])
    assert one.labels == other.labels
    with pytest.raises(ValueError, match=r"transform.options.callables\[1\]: '.*' for one, '.*' for other"):
        iv.compare(measured(net, one), measured(net, other, label="other"))


@pytest.mark.parametrize("make", [lambda: scaled(2.0), lambda: Flipped(2), lambda: torch.nn.Identity()])
def test_equal_functions_are_paired(make, net):
    results = [measured(net, iv.Elements([torch.abs, make()]), label=name) for name in ("one", "other")]
    assert iv.compare(*results)["difference"].tolist() == [0.0]


def test_using_a_transform_does_not_change_its_identity(net):
    transform = iv.Elements([torch.abs, Flipped(2)])
    first = measured(net, transform, label="one")
    measured(net, transform, torch.rand(3, 1, 6, 6))
    assert iv.compare(first, measured(net, transform, label="other"))["difference"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("there", "now", "message"),
    [
        (
            (iv.Rotation([0, 90], padding="zeros"), IMAGES),
            (iv.Rotation([0, 90], padding="border"), IMAGES),
            "different transform (transform.options.padding: 'zeros' for one, 'border' for other)",
        ),
        (
            (iv.QuarterTurns(), IMAGES),
            (iv.QuarterTurns(), IMAGES[:8]),
            "different data (data.samples: 16 for one, 8 for other)",
        ),
        (
            (iv.QuarterTurns(), IMAGES),
            (iv.QuarterTurns(), 1 - IMAGES),
            "different data (the values, labels, order or groups of the samples differ)",
        ),
    ],
)
def test_a_refusal_says_what_differs(there, now, message, net):
    results = [measured(net, *given, label=name) for given, name in ((there, "one"), (now, "other"))]
    with pytest.raises(ValueError, match=re.escape(message)):
        iv.compare(*results)


def test_results_of_one_name_are_called_first_and_second(net):
    with pytest.raises(ValueError, match="16 in the first result, 8 in the second"):
        iv.compare(measured(net, iv.QuarterTurns()), measured(net, iv.QuarterTurns(), IMAGES[:8]))


def test_a_saved_result_keeps_the_identity(net, tmp_path):
    one, other = (iv.Elements([torch.abs, function]) for function in PAIRS["code"])
    saved = iv.load(measured(net, one).save(tmp_path / "one"))
    assert len(iv.compare(saved, measured(net, one, label="other"))) == 1
    with pytest.raises(ValueError, match="different transform"):
        iv.compare(saved, measured(net, other, label="other"))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, []),
        ({"a": "1"}, {}, ["a: 1 there, absent now"]),
        ({"a": "Net #0", "a.b": "1"}, {"a": "Net #1", "a.b": "2"}, ["a.b: 1 there, 2 now"]),
        ({"a": "Net #0", "a.b": "1"}, {"a": "Other #1", "a.b": "2"}, ["a: Net there, Other now"]),
        ({"ab": "1", "a": "Net #0"}, {"ab": "2", "a": "Net #1"}, ["a (Net) differs", "ab: 1 there, 2 now"]),
    ],
)
def test_differences_name_the_innermost_places(first, second, expected):
    assert differences(first, second) == expected
