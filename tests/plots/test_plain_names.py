"""Names in figures are plain text, in every plot: no control character, lone surrogate or formula."""

import operator
import re
from dataclasses import replace

import pytest
from sample_results import sample_result

import invariscope as iv
from invariscope.plots import PLOTS
from invariscope.results.readable import LONGEST, readable, shown_entry

NAME = "a\x1b[2J\x07\u202e\ud83d$\\frac{<b>$"
SHOWN = "a\\x1b[2J\\x07\\u202e\\ud83d$\\frac{&lt;b&gt;$"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]")


def hostile():
    """A result in which the model, the layers, a class and the elements have such names."""
    layers = {f"conv{NAME}": (4, 6, 6), f"{NAME}2": (8,), "out": (10,)}
    result = sample_result(NAME, layers=layers, information=True, maps=True, stability=True)
    record = dict(result.provenance)
    record["transform"] = {**record["transform"], "labels": [NAME] * 16}
    record["data"] = {**record["data"], "classes": [NAME, *map(str, range(10))]}
    rows = [replace(row, stratum=NAME if row.stratum == "3" else row.stratum) for row in result.rows]
    return replace(result, rows=tuple(rows), provenance=record)


@pytest.mark.parametrize("name", PLOTS.names())
def test_every_plot_shows_names_as_text(name, tmp_path):
    figure = iv.plot(name, hostile(), title=NAME)
    figure.savefig(tmp_path / "figure.svg", metadata={"Date": None})
    written = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert not OBEYED.search(written)
    assert SHOWN in written


def test_a_long_name_is_shortened_and_can_still_be_named():
    long = "block." + "x" * 5_000
    result = sample_result(layers={long: (4, 6, 6), "out": (10,)}, curves=False, examples=False)
    figure = iv.plot("layer_profile", result, layers=[long])
    assert len(figure.axes[0].lines[0].get_xdata()) == 1
    assert len(shown_entry([long])[0]) <= LONGEST


def test_the_names_of_options_are_those_of_the_result():
    result = sample_result(layers={NAME: (4, 6, 6), "out": (10,)}, curves=False, examples=False)
    figure = iv.plot("layer_profile", result, layers=NAME)
    assert len(figure.axes[0].lines[0].get_xdata()) == 1


def test_results_with_ordinary_names_are_not_copied_row_by_row():
    result = sample_result(curves=True)
    shown = readable(result)
    assert all(map(operator.is_, shown.rows, result.rows))
    assert all(map(operator.is_, shown.curve_rows, result.curve_rows))
