"""Tables in a narrow terminal: names of layers and numbers stay whole."""

from __future__ import annotations

import pytest

from invariscope.cli.console import show
from invariscope.cli.tables import plain_table, result_tables
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
    assert len([line for line in lines if line.strip()]) == 4  # title, header and two layers


def test_sentences_wrap_at_spaces_only(lines_of):
    lines = lines_of(plain_table("t", ["layer", "what"], [(LONG, "a rather long sentence")], text=2), 72)
    words = {word for line in lines for word in line.split()}
    assert {LONG, "rather", "long", "sentence"} <= words
