"""Tables in a narrow terminal: names of layers and numbers stay whole."""

from __future__ import annotations

import pytest

from invariscope.cli.console import show
from invariscope.cli.tables import fitted_table, plain_table, result_tables
from invariscope.results.result import Result

LONG = "bert.encoder.layer.11.attention.self.query_key_value_projection"


@pytest.fixture
def lines_of(monkeypatch, capsys):
    def lines(table, width):
        monkeypatch.setenv("COLUMNS", str(width))
        show(table)
        return capsys.readouterr().out.splitlines()

    return lines


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_name_of_a_layer_is_on_one_line_beside_its_value(width, lines_of):
    columns = {"measure": "m", "call": 0, "stratum": "all", "ci_low": 0.1, "ci_high": 0.3, "null": 1.0}
    rows = tuple(columns | {"layer": layer, "value": 0.25} for layer in (LONG, "fc"))
    (table,) = result_tables(Result(rows))
    lines = lines_of(table, width)
    (line,) = [line for line in lines if LONG in line]
    assert "0.25" in line
    assert "0.3000" in line
    shown = [line for line in lines if line.strip() and "interval" not in line.split("95 %")[0]]
    assert len([line for line in shown if LONG in line or line.startswith("fc")]) == 2


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (100, []),
        (52, ["sparse"]),
        (46, ["sparse", "dead"]),
        (40, ["sparse", "dead", "units"]),
        (32, ["sparse", "dead", "units", "null"]),
    ],
)
def test_columns_without_space_are_left_out_and_named(width, left_out, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    columns = {"measure": "m", "call": 0, "stratum": "all", "ci_low": 0.1, "ci_high": 0.3, "null": 1.0}
    row = columns | {"layer": "fc", "value": 0.25, "units": 10, "units_total": 10, "dead_units": 0}
    (table,) = result_tables(Result((row | {"sparse_units": 0},)))
    show(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    (header,) = [line for line in lines if "value" in line]
    names = ["layer", "value", "95 % interval", "null", "units", "dead", "sparse"]
    assert [name for name in names if name not in header] == [name for name in names if name in left_out]
    caption = " ".join(" ".join(lines[lines.index(header) + 2 :]).split())
    assert caption == (f"not shown for lack of space: {', '.join(left_out)}" if left_out else "")


def test_no_column_is_left_out_of_a_file(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [["x" * 30, "y" * 30, "z" * 30]]
    assert len(fitted_table("t", ["a", "b", "c"], rows, drop=(2, 1)).columns) == 3
    monkeypatch.setenv("COLUMNS", "70")
    assert len(fitted_table("t", ["a", "b", "c"], rows, drop=(2, 1)).columns) == 2


def test_sentences_wrap_at_spaces_only(lines_of):
    lines = lines_of(plain_table("t", ["layer", "what"], [(LONG, "a rather long sentence")], text=2), 72)
    words = {word for line in lines for word in line.split()}
    assert {LONG, "rather", "long", "sentence"} <= words
