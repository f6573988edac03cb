"""Names of numbers in loggers."""

from __future__ import annotations

import sys

import pytest

import invariscope as iv
from invariscope.loggers.mlflow import metric_name
from invariscope.loggers.scalars import chosen, saved

ROW = {"measure": "nv", "layer": "relu", "value": 0.5, "ci_low": float("nan"), "null": float("inf")}
RESULT = iv.Result(
    rows=[ROW, {**ROW, "call": 1, "stratum": "cat", "null": 0.75}],
    curve_rows=[
        {"measure": "nv", "layer": "relu", "element": 2, "label": "5°", "parameter": "x", "value": 1}
    ],
)
NAMES = {"nv/relu": 0.5, "nv/relu, call 1/cat": 0.5, "nv.null/relu, call 1/cat": 0.75, "curve/nv/relu/2": 1.0}


def test_finite_numbers_of_table_and_curves_have_one_name_each():
    assert dict(iv.loggers.scalars(RESULT)) == NAMES
    values = iv.loggers.scalars(RESULT, columns=["value"], curves=False)
    assert list(values) == [("nv/relu", 0.5), ("nv/relu, call 1/cat", 0.5)]


def test_unknown_columns_and_shards_are_refused():
    with pytest.raises(ValueError, match=r"unknown column 'ci_lo'.*ci_low"):
        list(iv.loggers.scalars(RESULT, columns=["ci_lo"]))


def test_globs_choose_and_one_that_matches_nothing_finite_is_no_error():
    assert chosen(RESULT, ["nv/*"]) == {"nv/relu": 0.5, "nv/relu, call 1/cat": 0.5}
    assert chosen(RESULT, ["nv.ci_low/relu"]) == {}
    with pytest.raises(ValueError, match=r"matches 'nv\.ci_high/relu'.*Closest: "):
        chosen(RESULT, ["nv.ci_high/relu"])


def test_the_names_of_mlflow_are_neither_files_in_files_nor_equal():
    safe = [metric_name(name) for name in NAMES]
    assert safe == ["nv/relu", "nv/relu call 1 - cat", "nv.null/relu call 1 - cat", "curve/nv/relu - 2"]
    odd = ["nv/ä", "nv/ö", "nv/_", "nv/" + "x" * 300, "nv/" + "x" * 301, "nv/..", "nv//", "/nv"]
    found = [metric_name(name) for name in odd]
    assert len(set(found)) == len(odd)
    assert max(map(len, found)) < 250


def test_a_saved_result_has_its_table_beside_it(tmp_path):
    folder = saved(RESULT, tmp_path)
    assert iv.load(folder).rows == iv.load(RESULT.save(tmp_path / "again")).rows
    assert (folder / "table.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(("name", "writer"), [("mlflow", "MLflowWriter"), ("wandb", "WandbWriter")])
def test_without_its_library_a_writer_names_the_extra(name, writer, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'invariscope\[{name}\]'"):
        getattr(iv.loggers, writer)()
