"""What tables in the terminal show in their cells."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from invariscope.cli.tables import remarks, result_tables
from invariscope.plots.shared.labels import OUTSIDE
from invariscope.results.result import Result


def _row(value, **columns):
    place = {"measure": "m", "layer": "conv", "call": 0, "stratum": "all", "value": value}
    return place | {"ci_low": 0.42, "ci_high": 0.44, "corrected": 0.43} | columns


def _text(result):
    console = Console(file=io.StringIO(), width=160)
    for table in result_tables(result):
        console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("place", [{}, {"layer": "output", "measure": "m.n"}])
def test_a_value_outside_of_its_interval_shows_the_corrected_estimate_in_front_of_it(place):
    apart, inside = (Result((_row(value, **place),)) for value in (0.41, 0.425))
    assert "0.4100  0.4300; 0.4200 to 0.4400" in _text(apart)
    assert "0.4200 to 0.4400" in _text(inside)
    assert "; " not in _text(inside)
    assert remarks(apart) == [OUTSIDE]
    assert remarks(inside) == []


def test_notes_that_differ_only_in_numbers_are_one_line():
    notes = [f"no interval: the smallest group has {k} of 8 samples needed" for k in (1, 2, 3, 4)]
    rows = [_row(0.5, layer=f"conv{k}", note=note) for k, note in enumerate(notes)]
    skipped = [{"layer": f"a{k}", "reason": f"{k} rows for 3 samples"} for k in (5, 2)]
    assert remarks(Result(tuple(rows), provenance={"skipped": skipped})) == [
        "skipped a5, a2: 2 to 5 rows for 3 samples",
        OUTSIDE,
        "no interval: the smallest group has 1 to 4 of 8 samples needed (4 rows)",
    ]
