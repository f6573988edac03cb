"""Names that try to become script, markup, terminal commands or other text, in every place they have."""

import json

import numpy as np
import pytest
from hostile_results import LAYERS, NAMES, renamed
from sample_results import sample_result

from invariscope.report import write_report
from invariscope.results.readable import LONGEST, readable, shown_name


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on two results in which every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    results = [renamed(sample_result(seed=k, layers=LAYERS), k) for k in range(2)]
    return write_report(results, folder / "report.html", title=" ".join(NAMES.values()))


def test_no_character_that_is_obeyed_stands_raw_in_the_file(page):
    text = page.read_text(encoding="utf-8")
    body = text[: text.index("<script")] + text[text.rindex("</script>") :]
    for character in ("\0", "\x07", "\x1b", "\u202e", "\u2066", "\u200f", "\u2028", "\ud83d"):
        assert character not in body, hex(ord(character))
    assert "half\\ud83d" in body
    assert "\\x1b[2J" in body


def test_rows_maps_and_classes_keep_the_same_names_when_shown():
    shown = readable(renamed(sample_result(layers=LAYERS), 0))
    assert {row.layer for row in shown.rows} == set(map(shown_name, LAYERS))
    assert {key[1] for key in shown.arrays} <= {row.layer for row in shown.rows}
    classes = shown.provenance["data"]["classes"]
    assert len(set(classes)) == len(NAMES)
    assert {row.stratum for row in shown.rows} <= {"all", "mean", *classes}


def test_long_names_stay_different_when_shortened():
    one, two = "x" * 5_000 + "a" + "x" * 5_000, "x" * 5_000 + "b" + "x" * 5_000
    assert shown_name(one) != shown_name(two)
    assert max(map(len, map(shown_name, (one, two)))) <= LONGEST


def test_ordinary_names_and_values_are_unchanged():
    result = sample_result()
    shown = readable(result)
    assert shown.rows == result.rows
    assert json.dumps(shown.provenance) == json.dumps(result.provenance)
    assert all(np.array_equal(shown.arrays[key], result.arrays[key], equal_nan=True) for key in result.arrays)
