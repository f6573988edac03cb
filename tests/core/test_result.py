"""Results: labelled, saved whole or not at all, safe to load."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from invariscope.common.sealing import read_sealed_json, write_sealed_json
from invariscope.results import storage
from invariscope.results.result import COLUMNS, CURVE_COLUMNS, Result
from invariscope.results.rows import layer_keys


def unsealed(path):
    return read_sealed_json(path, newest=2, what="a result").document


@pytest.fixture
def result():
    row = {"measure": "normalized_variance", "layer": "conv1", "call": 0, "stratum": "all", "value": 0.25}
    other = {
        **row,
        "layer": "fc",
        "value": math.nan,
        "ci_low": math.inf,
        "note": "no unit is left",
        "units": 4,
    }
    curve = {
        "measure": "prediction.flips",
        "layer": "output",
        "call": 0,
        "stratum": "all",
        "x": 90.0,
        "value": 0.5,
    }
    return Result(
        rows=({**row, "units": 10, "dead_units": 2, "sparse_units": 0, "replicates": [0.2, 0.3]}, other),
        curve_rows=(curve,),
        arrays={("normalized_variance", "conv1", "all", 0): np.array([[0.25, np.nan]])},
        provenance={"model": {"name": "Net"}, "notes": ["a note"]},
        examples={"orbit": np.ones((2, 1, 3, 3), np.float32)},
    )


def test_the_table_has_the_documented_columns_and_nan_where_one_does_not_apply(result):
    assert result.table.columns.tolist() == COLUMNS
    assert result.curves.columns.tolist() == CURVE_COLUMNS
    assert math.isnan(result.table["floor"][0])
    assert result.table["note"].tolist() == ["", "no unit is left"]
    assert result.notes["note"].tolist() == ["no unit is left"]


def test_the_corrected_estimate_stands_between_the_ends_of_its_interval():
    for columns in (COLUMNS, CURVE_COLUMNS):
        assert columns.index("ci_high") + 1 == columns.index("corrected")
    assert COLUMNS[-2:] == ["undefined", "note"]


def test_a_notebook_is_told_of_values_outside_of_their_own_interval(result):
    assert "outside" not in result._repr_html_()
    rows = tuple({**row, "value": 0.9, "ci_low": 0.2, "ci_high": 0.3} for row in result.rows[:1])
    assert "1 of 1 values lie outside their own interval" in Result(rows)._repr_html_()


def test_maps_answer_to_two_three_or_four_keys(result):
    short = result.maps["normalized_variance", "conv1"]
    assert short is result.maps["normalized_variance", "conv1", "all", 0]
    with pytest.raises(KeyError, match="conv1"):
        result.maps["normalized_variance", "conv9"]


def test_saving_and_loading_lose_nothing(result, tmp_path):
    loaded = storage.load(result.save(tmp_path / "run"))
    assert loaded.table.equals(result.table)
    assert loaded.curves.equals(result.curves)
    assert loaded.rows[0]["replicates"] == [0.2, 0.3]
    assert loaded.provenance == result.provenance
    np.testing.assert_array_equal(
        loaded.maps["normalized_variance", "conv1"], result.maps["normalized_variance", "conv1"]
    )
    np.testing.assert_array_equal(loaded.examples["orbit"], result.examples["orbit"])


def test_the_files_have_the_permissions_of_any_new_file(result, tmp_path):
    folder = result.save(tmp_path / "run")
    (tmp_path / "plain").touch()
    assert {(folder / name).stat().st_mode for name in ("result.json", "maps.safetensors")} == {
        (tmp_path / "plain").stat().st_mode
    }


def test_the_file_is_strict_json_although_values_may_be_nan_or_infinite(result, tmp_path):
    text = (result.save(tmp_path / "run") / "result.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_folder_that_holds_another_run_is_refused_and_left_alone(result, tmp_path):
    result.save(tmp_path / "run")
    before = (tmp_path / "run" / "result.json").read_bytes()
    with pytest.raises(FileExistsError, match=r"already holds a saved result\..* overwrite=True\.$"):
        result.labelled("other").save(tmp_path / "run")
    assert (tmp_path / "run" / "result.json").read_bytes() == before
    result.labelled("other").save(tmp_path / "run", overwrite=True)
    assert storage.load(tmp_path / "run").name == "other"


def test_a_folder_with_other_files_is_refused(result, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="other files"):
        result.save(tmp_path)


def test_a_replacement_that_was_interrupted_after_it_was_decided_loads_as_the_new_result(
    result, tmp_path, monkeypatch
):
    result.save(tmp_path / "run")
    move, moved = os.replace, []

    def interrupted(source, target):
        if Path(source).parent.name == ".publishing":
            if moved:
                raise KeyboardInterrupt
            moved.append(Path(target).name)
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            result.labelled("newer").save(tmp_path / "run", overwrite=True)
    assert moved == ["maps.safetensors"]
    assert "label" not in json.loads((tmp_path / "run" / "result.json").read_text())["provenance"]["model"]
    assert storage.load(tmp_path / "run").name == "newer"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"result.json", "maps.safetensors"}


def test_an_interrupted_save_leaves_nothing_behind(result, tmp_path, monkeypatch):
    monkeypatch.setattr("json.dumps", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        result.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_text(p.read_text()[:50]), "is not valid JSON"),
        (lambda p: p.write_text("[1, 2]"), "not a saved result"),
        (lambda p: write_sealed_json(p, unsealed(p) | {"schema": 99}), "update invariscope"),
        (lambda p: p.write_text(p.read_text().replace('"schema": 2', '"schema": 1')), "does not match"),
        (lambda p: p.write_text(json.dumps(unsealed(p))), "does not match"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "is not valid JSON"),
    ],
)
def test_a_damaged_json_is_refused_with_what_is_wrong(result, tmp_path, damage, message):
    folder = result.save(tmp_path / "run")
    damage(folder / "result.json")
    with pytest.raises(ValueError, match=message):
        storage.load(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"\xff" * 100])
def test_a_damaged_map_file_is_refused(result, tmp_path, content):
    folder = result.save(tmp_path / "run")
    (folder / "maps.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        storage.load(folder)


def test_a_folder_without_a_result_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no result\.json"):
        storage.load(tmp_path)


def test_overall_weighs_layers_by_their_counted_units():
    rows = tuple(
        {
            "measure": "m",
            "layer": name,
            "stratum": "all",
            "call": 0,
            "value": value,
            "counted_units": units - 1,
        }
        for name, value, units in (("a", 1.0, 4), ("b", 0.5, 10))
    )
    assert Result(rows).overall("m") == pytest.approx((1.0 * 3 + 0.5 * 9) / 12)
    with pytest.raises(ValueError, match="no rows"):
        Result(rows).overall("normalised")


def test_the_table_as_an_xarray_dataset_is_labelled_by_measure_layer_call_and_stratum(result):
    pytest.importorskip("xarray")
    dataset = result.to_xarray()
    where = {"measure": "normalized_variance", "layer": "conv1", "call": 0, "stratum": "all"}
    assert float(dataset["value"].sel(where)) == 0.25
    assert float(dataset["units"].sel(where)) == 10
    assert dataset["note"].sel(where) == ""
    assert dataset["note"].sel({**where, "layer": "fc"}) == "no unit is left"


def test_curves_and_maps_as_xarray_datasets_equal_those_of_the_result():
    pytest.importorskip("xarray")
    row = {"measure": "m", "layer": "a/b", "value": 0.5}
    points = [
        {**row, "stratum": s, "element": e, "label": f"{e}°", "parameter": "angle_deg", "value": e + 0.25}
        for s in ("all", "3")
        for e in (0, 1)
    ]
    maps = {("m", "a/b", "all", 0): np.array([[0.5, np.nan]]), ("m", "a/b", "3", 1): np.arange(3.0)}
    result = Result(rows=[row], curve_rows=points, arrays=maps)
    curves = result.to_xarray("curves")
    for point in points:
        where = {name: point.get(name, 0) for name in ("measure", "layer", "call", "stratum", "element")}
        assert float(curves["value"].sel(where)) == point["value"]
        assert curves["label"].sel(where) == point["label"]
    found = result.to_xarray("maps")
    assert list(found) == ["m a|b", "m a|b 3 1"]
    for values in found.values():
        key = tuple(values.attrs[name] for name in ("measure", "layer", "stratum", "call"))
        np.testing.assert_array_equal(values, maps.pop(key))
    assert maps == {}
    with pytest.raises(ValueError, match=r"unknown part 'curve'.*curves"):
        result.to_xarray("curve")


def test_without_pyarrow_the_error_names_the_extra_and_no_file_is_left(result, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[parquet\]'"):
        result.to_parquet(tmp_path / "run.parquet")
    with pytest.raises(ValueError, match="unknown part 'maps'"):
        result.to_parquet(tmp_path / "run.parquet", part="maps")
    assert list(tmp_path.iterdir()) == []


def test_the_model_card_escapes_names_and_its_metadata_are_the_rows(result):
    card = result.labelled("a|<b>").model_card(task="image-classification", dataset="mnist")
    index = json.loads(card.metadata.removeprefix("model-index: "))
    assert index == card.model_index
    (entry,) = index[0]["results"]
    assert (entry["task"], entry["dataset"]["type"]) == ({"type": "image-classification"}, "mnist")
    values = {(row.measure, row.layer): row.value for row in result.rows}
    assert {(m["type"], m["args"]["layer"]): m["value"] for m in entry["metrics"]}.items() <= values.items()
    assert "<b>" not in card.text
    assert card.text.startswith("## Behaviour under ")
    assert str(card) == f"---\n{card.metadata}---\n\n{card.text}"


def test_a_result_without_a_finite_value_has_no_model_card():
    row = {"measure": "normalized_variance", "layer": "conv1", "value": float("nan")}
    with pytest.raises(ValueError, match="no row of this result has a finite value"):
        Result(rows=[row]).model_card()


@pytest.mark.parametrize("moment", ["_read_json", "_read_arrays"])
def test_a_result_replaced_while_it_is_read_is_read_again(result, moment, tmp_path, monkeypatch):
    row = {"measure": "normalized_variance", "layer": "conv1", "call": 0, "stratum": "all", "value": 0.75}
    later = Result(rows=(row,), arrays={("normalized_variance", "conv1", "all", 0): np.array([[0.75]])})
    result.save(tmp_path / "run")
    read, todo = getattr(storage, moment), [later]

    def meanwhile(*given):
        found = read(*given)
        if todo:
            todo.pop().save(tmp_path / "run", overwrite=True)
        return found

    monkeypatch.setattr(storage, moment, meanwhile)
    found = storage.load(tmp_path / "run")
    assert found.table["value"].tolist() == [0.75]
    assert found.maps["normalized_variance", "conv1"].tolist() == [[0.75]]


def test_a_result_that_is_replaced_all_the_time_is_not_read_in_part(result, tmp_path, monkeypatch):
    result.save(tmp_path / "run")
    read = storage._read_json

    def meanwhile(path):
        result.save(tmp_path / "run", overwrite=True)
        return read(path)

    monkeypatch.setattr(storage, "_read_json", meanwhile)
    with pytest.raises(OSError, match="another process keeps overwriting"):
        storage.load(tmp_path / "run")


def test_maps_are_found_by_the_symbol_of_the_measure(result):
    assert result.maps["nv", "conv1"].shape == (1, 2)
    assert ("nv", "conv1") in result.maps


def test_an_accuracy_beside_the_values_of_layers_is_not_a_further_layer():
    def of(*places):
        rows = ({"measure": m, "layer": name, "call": k, "value": 0.5} for m, name, k in places)
        return Result(tuple(rows))

    layers = [("nv", "conv", 0), ("nv", "relu", 0), ("nv", "relu", 1)]
    accuracy = ("prediction.accuracy", "output", 0)
    assert layer_keys(of(*layers, accuracy).rows) == [("conv", 0), ("relu", 0), ("relu", 1)]
    assert layer_keys(of(("nv", "conv", 0), accuracy).rows) == [("conv", 0)]
    assert layer_keys(of(*layers, ("nv", "output", 0), accuracy).rows)[-1] == ("output", 0)
    assert layer_keys(of(accuracy).rows) == [("output", 0)]
    assert "3 layers, 4 rows" in repr(of(*layers, accuracy))
