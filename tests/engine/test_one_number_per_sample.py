"""A layer or output of shape (n,) is measured like one of shape (n, 1), by every measure and study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope import penalties
from invariscope.measures.base import MEASURES

X = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 2
MEASURED = [
    pytest.param(measure, id=f"{name}-{number}")
    for name, cls in sorted(MEASURES.classes().items())
    for number, measure in enumerate(cls.examples())
]


class Energy(nn.Module):
    """One number per sample, the sum over an image: (n,), or (n, 1) if `column`."""

    def __init__(self, *, column: bool) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.linear = nn.Conv2d(1, 3, 3), nn.Linear(108, 1)
        self.last = nn.Identity() if column else nn.Flatten(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.linear(torch.tanh(self.conv(x)).flatten(1)))


NUMBER, COLUMN = Energy(column=False), Energy(column=True)


def outcome(function, model):
    """The result, or what the error says."""
    try:
        return function(model)
    except (ValueError, TypeError) as error:
        return str(error)


def same(function) -> None:
    """Both models get the same rows, curves, maps, notes and skips, or the same refusal."""
    one, other = outcome(function, NUMBER), outcome(function, COLUMN)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    for table in ("table", "curves"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table))
    assert one.maps.keys() == other.maps.keys()
    for key, values in one.maps.items():
        np.testing.assert_array_equal(values.ravel(), other.maps[key].ravel())
    for entry in ("notes", "skipped"):
        assert one.provenance[entry] == other.provenance[entry]


@pytest.mark.parametrize("measure", MEASURED)
def test_every_measure_treats_one_number_per_sample_as_one_unit(measure):
    options = {"measures": [measure], "layers": "last", "by_class": True, "progress": False}
    same(lambda model: iv.measure(model, (X, Y), iv.QuarterTurns(), **options))


@pytest.mark.parametrize("layerwise", [True, False])
def test_lie_derivatives(layerwise):
    one, other = (
        iv.lie_derivative(model, X[:4], generators="rotation", layerwise=layerwise).table
        for model in (NUMBER, COLUMN)
    )
    known = ["conv", "linear", "tanh", "output"]
    values = [t[t["layer"].isin(known)][["measure", "layer", "value"]] for t in (one, other)]
    pd.testing.assert_frame_equal(*(v.reset_index(drop=True) for v in values))


def test_stability_curves_and_worst_elements():
    same(lambda model: iv.stability_curve(model, (X, Y), radii=3, samples=8, progress=False))
    rotation = iv.Rotation([0.0, 30.0, 60.0])
    same(lambda model: iv.worst_element(model, X, rotation, layers="last", samples=8, progress=False))


@pytest.mark.parametrize("layers", [None, "last"])
def test_assertions(layers):
    for check in (iv.assert_invariant, iv.assert_equivariant):
        found = []
        for model in (NUMBER, COLUMN):
            with pytest.raises(iv.SymmetryError) as caught:
                check(model, X, iv.QuarterTurns(), layers=layers)
            found.append([(layer.layer, layer.action, layer.worst) for layer in caught.value.verdict.layers])
        assert found[0] == found[1]


def test_penalties():
    for make in (penalties.NormalizedVariance, penalties.EquivarianceDeviation):
        own = {} if make is penalties.NormalizedVariance else {"distance": "l2"}
        penalty = make(iv.QuarterTurns(), layers="last", **own)
        values = [penalty(model, X) for model in (NUMBER, COLUMN)]
        assert values[0].item() == values[1].item() > 0


def test_rows_of_several_entities_are_skipped_with_a_reason_and_the_rest_is_measured():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return (self.linear(x).reshape(-1) * 2).view(len(x), -1)

    torch.manual_seed(0)
    tokens, elements = Tokens(), [lambda v: v, lambda v: v.flip(1)]
    result = iv.measure(tokens, torch.randn(32, 8), elements, progress=False)
    assert result.table["layer"].tolist() == ["linear"]
    (skipped,) = result.provenance["skipped"]
    assert skipped["layer"] == "mul"
    assert skipped["reason"].startswith("axis 0 holds several numbers per sample")
