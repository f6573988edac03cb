"""Layers that repeat the values of another one: left out of the rows, or listed with rows="all"."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv

TURNS = iv.QuarterTurns()
MEASURES = ("normalized_variance", "cka", "prediction")


class Net(nn.Module):
    """Every kind of repetition: an identity, dropout in evaluation mode, a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.same, self.drop = nn.Conv2d(1, 3, 3), nn.Identity(), nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=True)
        self.flat, self.fc = nn.Flatten(), nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flat(self.relu(self.drop(self.same(self.conv(x))))))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def images(count: int = 80) -> Tensor:
    return torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def measured(**options) -> iv.Result:
    labels = torch.arange(80) % 4
    given = {"measures": MEASURES, "by_class": True, "progress": False}
    return iv.measure(net(), (images(), labels), TURNS, **given | options)


def layers_of(result: iv.Result) -> list[str]:
    return list(dict.fromkeys(row.layer for row in result.rows if row.layer != "output"))


def test_a_compact_result_has_no_row_curve_or_map_of_a_repetition():
    result = measured()
    assert layers_of(result) == ["conv", "relu", "fc"]
    assert {key[1] for key in result.maps} == {"conv", "relu", "fc"}
    assert not {point.layer for point in result.curve_rows} & {"same", "drop", "flat"}


def test_all_rows_include_repetitions_and_the_others_are_equal():
    compact, whole = measured(), measured(rows="all")
    assert layers_of(whole) == ["conv", "same", "drop", "relu", "flat", "fc"]
    kept = {"conv", "relu", "fc", "output"}
    for name in ("rows", "curve_rows"):  # as text: NaN equals nothing
        found, expected = getattr(whole, name), getattr(compact, name)
        assert [repr(row) for row in found if row.layer in kept] == list(map(repr, expected))
    assert all(np.array_equal(whole.maps[name], compact.maps[name], equal_nan=True) for name in compact.maps)


def test_what_was_left_out_is_said_once_with_its_original():
    result = measured()
    (note,) = [note for note in result.provenance["notes"] if "repeat" in note]
    assert note.startswith("3 layers are left out because they repeat others: ")
    assert "same (as conv), drop (as conv), flat (as relu)" in note
    assert 'rows="all"' in note
    assert {"layer": "flat", "call": 0, "repeats": ["relu", 0]} in result.provenance["repeated"]
    whole = measured(rows="all")
    assert not [note for note in whole.provenance["notes"] if "repeat" in note]
    assert "repeated" not in whole.provenance


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        (["*", "drop"], ["conv", "drop", "relu", "fc"]),  # a name keeps its layer
        ("*", ["conv", "relu", "fc"]),  # a glob does not, and a container repeats its last layer
        ("dr*", ["drop"]),  # the original is not measured
        (["flat", "relu"], ["relu", "flat"]),
    ],
)
def test_a_layer_stays_if_it_is_named_or_if_its_original_is_not_measured(layers, shown):
    assert layers_of(measured(layers=layers, by_class=False)) == shown


def test_a_reader_names_its_layers_itself():
    reader = iv.readers.TorchReader(net(), layers=["conv", "same", "fl*", "relu"])
    result = iv.measure(reader, images(), TURNS, progress=False)
    assert layers_of(result) == ["conv", "same", "relu"]


def test_an_in_place_operation_does_not_repeat_its_input():
    compact = {row.layer: row.value for row in measured(by_class=False).rows if row.stem == "cka"}
    assert compact["relu"] != compact["conv"]


def test_random_networks_have_the_same_rows():
    options = {"baseline": "random", "draws": 2, "by_class": False, "measures": "normalized_variance"}
    assert {row.layer for row in measured(**options).baseline_rows} == {"conv", "relu", "fc"}
    whole = measured(**options, rows="all")
    assert {row.layer for row in whole.baseline_rows} == set(layers_of(whole))


def test_results_with_and_without_repetitions_can_be_compared():
    table = iv.compare(measured(by_class=False), measured(by_class=False, rows="all"))
    assert set(table["layer"]) >= {"conv", "relu", "fc"}
    assert (table["difference"].dropna() == 0).all()


def test_a_run_that_resumes_may_show_other_rows(tmp_path):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "sums"
    given = {"by_class": False, "measures": "normalized_variance", "batch_size": 40, "checkpoint": file}
    with pytest.raises(KeyboardInterrupt):
        measured(**given, progress=stop)
    assert layers_of(measured(**given, rows="all")) == ["conv", "same", "drop", "relu", "flat", "fc"]


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="unknown rows 'al'"):
        measured(rows="al")
