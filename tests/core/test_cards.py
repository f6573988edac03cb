"""What notebooks display: small, harmless, and with the main finding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import invariscope as iv
from cards_html import seen
from invariscope.checking.verdict import LayerVerdict, Verdict, Worst
from invariscope.common.cards import Card, Described, Table
from invariscope.common.sparkline import Sparkline
from invariscope.report import findings
from invariscope.results.compare import compare
from invariscope.results.maps import Maps
from invariscope.results.result import Result
from invariscope.results.shard import Shard

IMAGE = '<img src=x onerror="window.pwned=1">'
SCRIPT = "</script><script>window.pwned=2</script>"
HOSTILE = [IMAGE, SCRIPT, "$$\\href{x}{y}$$", "a\x1b[31m\u202eb", "\ud800", "`code`", '"' * 5000, "&" * 5000]
NULL = {"null": 1.02, "samples": 512.0}


def row(layer, value, stratum="all", measure="normalized_variance", **columns):
    interval = {"ci_low": 0.9 * value, "ci_high": 1.1 * value, "corrected": value}
    return {
        "measure": measure,
        "layer": layer,
        "stratum": stratum,
        "value": value,
        **interval,
        **NULL,
        **columns,
    }


def result_of(layers, name="Net", strata=("all",), **columns):
    rows = (
        row(layer, (k + 1) / len(layers), stratum, **columns)
        for k, layer in enumerate(layers)
        for stratum in strata
    )
    about = {"model": {"name": name}, "data": {"name": "digits", "samples": 512}}
    return Result(
        tuple(rows), provenance=about | {"transform": {"family": "quarter_turns", "labels": list("0123")}}
    )


def deep(classes=0):
    layers = [f"layer{k // 49}.{k // 7 % 7}.{k % 7}" for k in range(196)]
    return result_of(layers, strata=("all", *map(str, range(classes))))


def card(value):
    return seen(value._repr_html_())


def test_a_card_states_the_finding_the_values_and_where_the_rest_is():
    result = result_of(["conv1", "conv2", "fc"])
    shown = card(result)
    assert findings.sentences([result], None)[0] in shown.text
    assert "Net · digits · 512 samples · quarter turns, 4 elements" in shown.text
    for text in ("0.333", "0.300 to 0.367", "null 1.020; samples 512", ".table has 3 rows", ".report()"):
        assert text in shown.text, text
    assert shown.rows == 4
    assert shown.svgs == 1


def test_a_deep_network_of_many_classes_has_a_card_of_30_layers():
    result = deep(classes=100)
    shown = card(result)
    assert shown.rows == 1 + 29  # headings, the outputs of 28 blocks, and the lowest value
    assert "29 of 196 layers" in shown.text
    assert "19,796 rows (1 measure × 196 layers × 101 strata)" in shown.text
    for extreme in ("layer0.0.0", "layer3.6.6"):
        assert extreme in shown.text


def test_the_layers_of_the_sentence_are_in_the_table():
    layers = {f"block{k}.conv": 0.5 for k in range(100)} | {"block37.conv": 0.01, "block73.conv": 0.9}
    result = Result(tuple(row(layer, value) for layer, value in layers.items()))
    shown = card(result)
    assert shown.text.count("block37.conv") >= 2
    assert shown.text.count("block73.conv") >= 2


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_text_and_shortened(name):
    result = result_of([f"{k}{name}" for k in range(200)], name=name)
    assert "pwned=" not in "".join(part for part in result._repr_html_().split("<") if "img" in part[:4])
    card(replace(result, provenance={**result.provenance, "data": {"name": name, "samples": 3}}))
    card(compare(result, result.labelled(f"other {name}")))
    card(result.maps)


def test_a_table_too_large_for_a_card_has_fewer_rows():
    table = Table("names", [(str(k), "name") for k in range(8)], [['"' * 500] * 8 for _ in range(30)])
    shown = seen(Card("Wide", table=table).html())
    assert 2 <= shown.rows < 31
    seen(Card("é" * 10_000, ["&" * 10_000] * 100, "", None, ["<" * 10_000] * 100).html())


def test_the_check_rejects_what_no_card_may_contain():
    fine = Card("a", ["b"], table=Table("c", [("d", "name")], [["e"]])).html()
    seen(fine)
    for wrong in ("<script></script>", '<img src="http://x" alt="x">', "<b>", '<div onclick="x">', "</div>"):
        with pytest.raises(AssertionError):
            seen(fine.replace("a</div>", f"a{wrong}</div>", 1))
    with pytest.raises(AssertionError):
        seen(fine, most=100)


@pytest.mark.parametrize(
    ("columns", "provenance", "said"),
    [
        (
            {"note": "no interval: the smallest group has 2 of 8 samples needed"},
            {},
            "3 values without an interval: the smallest group has 2 of 8 samples needed.",
        ),
        ({}, {"options": {"intervals": False}}, "No intervals were computed (intervals=False)."),
        ({}, {}, "3 values without an interval."),
    ],
)
def test_missing_intervals_are_explained(columns, provenance, said):
    none = {"ci_low": math.nan, "ci_high": math.nan}
    result = result_of(["a", "b", "c"], **none, **columns)
    assert said in card(replace(result, provenance=result.provenance | provenance)).text


def test_reasons_that_differ_only_in_numbers_are_one():
    notes = [f"no interval yet: {k} samples decide the value; 5 are needed" for k in (1.5, 2, 3)]
    rows = [row(f"a{k}", 0.5, ci_low=math.nan, ci_high=math.nan, note=note) for k, note in enumerate(notes)]
    said = "3 values without an interval: 1.5 to 3 samples decide the value; 5 are needed."
    assert said in card(Result(tuple(rows))).text


def test_cautions_and_values_outside_their_interval_are_mentioned():
    rows = [
        row("a", 0.1, caution="near zero because the layer is insensitive"),
        row("b", 0.5, ci_low=0.6, ci_high=0.7),
    ]
    text = card(Result(tuple(rows))).text
    assert "1 of 2 values lie outside their own interval" in text
    assert ".cautions 1 row" in text


def test_a_result_without_values_and_one_of_a_single_number_have_cards():
    assert "No layer has a value" in card(Result((row("a", math.nan),))).text
    assert "No layer has a value" in card(Result(())).text
    rows = [row("output", 0.9, measure="prediction.accuracy"), row("output", 0.2, measure="prediction.flips")]
    shown = card(Result(tuple(rows)))
    assert "Prediction: accuracy" in shown.text
    assert "Prediction: flips" in shown.text


def test_a_shard_says_how_to_get_a_result():
    part = Shard(0, 2, {"samples": 10, "total": 20}, {})
    shown = card(Result((), provenance={"model": {"name": "MyNet"}}, shard=part))
    assert "Shard 0 of 2 (10 of 20 samples) of MyNet" in shown.text
    assert "iv.merge" in shown.text


def with_replicates(result, factor=1.0):
    rows = (
        {
            **one,
            "value": factor * one.value,
            "replicates": [factor * (one.value + 0.001 * g) for g in range(8)],
            "group_sizes": [8] * 8,
        }
        for one in result.rows
    )
    return replace(result, rows=tuple(rows))


def test_a_comparison_is_a_data_frame_with_a_card():
    first = with_replicates(result_of(["conv1", "conv2", "fc"]).labelled("plain"))
    table = compare(first, with_replicates(first, 0.5).labelled("rotated"))
    shown = card(table)
    assert "Under quarter turns, rotated is more invariant than plain in 3 of 3 layers" in shown.text
    assert "−0.500" in shown.text
    assert shown.rows == 4
    assert isinstance(table, pd.DataFrame)


def test_the_card_of_a_comparison_says_why_intervals_are_missing():
    few = "no interval: the smallest group has 4 of 8 samples needed"
    result = result_of(["a", "b"])
    result = replace(result, rows=tuple(replace(row, note=few, ci_low=float("nan")) for row in result.rows))
    text = card(compare(result, result.labelled("other"))).text
    assert "No interval for any of 2 differences: the smallest group has 4 of 8 samples needed." in text


def test_whatever_is_derived_from_a_comparison_is_an_ordinary_data_frame():
    table = compare(result_of(["a", "b"]), result_of(["a", "b"], name="Other"))
    for derived in (table.head(1), table[["layer", "p"]], table.query("layer == 'a'"), table.copy(), table.T):
        assert type(derived) is pd.DataFrame
    assert type(table["layer"]) is pd.Series
    assert pd.DataFrame(table).equals(table.copy())
    del table["p_holm"]
    assert "<table" in table._repr_html_()  # pandas' own, since the card needs this column


def test_comparisons_of_several_models_and_of_models_of_one_name_keep_them_apart():
    several = [
        with_replicates(deep(), factor).labelled(name) for factor, name in ((1, "a"), (0.5, "b"), (2, "c"))
    ]
    shown = card(compare(several))
    assert shown.rows == 31
    assert "c is less invariant than a" in shown.text
    same = [with_replicates(result_of(["x", "y"]), factor) for factor in (1, 0.5, 2)]
    text = card(compare(same)).text
    assert "Net (2) is more invariant than Net (1)" in text
    assert "Net (3) is less invariant than Net (1)" in text


def test_maps_are_listed_with_their_shapes():
    arrays = {("normalized_variance", f"conv{k}", "all", k % 2): np.zeros((4, 3)) for k in range(40)}
    arrays["normalized_variance", "conv0", "cat", 0] = np.zeros((4, 3))
    shown = card(Maps(arrays))
    assert shown.rows == 31
    assert "30 of 40 pairs of measure and layer" in shown.text
    assert "all, cat" in shown.text
    assert "4 × 3" in shown.text
    assert repr(Maps(arrays)) == "<Maps: 41 maps of 1 measures in 40 layers; maps[measure, layer]>"


@pytest.mark.parametrize("listed", [iv.list_measures, iv.list_transforms, iv.list_plots])
def test_listings_are_dictionaries_with_a_card(listed):
    found = listed()
    assert isinstance(found, dict)
    assert found == dict(found)
    shown = card(found)
    assert shown.rows == len(found) + 1
    assert all(name in shown.text for name in found)


def test_explanations_are_text_with_line_breaks():
    text = iv.explain("rotation")
    assert isinstance(text, str)
    assert "Rotation.circle(m" in seen(text._repr_html_()).text


def test_arrays_are_described_and_not_printed():
    field = iv.local_decomposition(np.zeros((2, 6, 6)))
    assert isinstance(field, Described)
    assert repr(field).startswith("<LocalDecomposition: translation 2 × 2 × 2 float64, matrix 2 × 2 × 2 × 2")
    shown = card(field)
    assert "mean displacement of the patch in pixels, x first." in shown.text
    assert shown.rows == 5


def test_a_history_shows_layers_by_epoch():
    rows = [
        dict(row(f"layer{k}", 1 / (1 + epoch + k)), call=0, epoch=epoch)
        for epoch in range(9)
        for k in range(50)
    ]
    results = {epoch: result_of(["layer0"]) for epoch in range(9)}
    history = iv.monitor.History(tuple(rows), results=results)
    assert repr(history) == "<History of 9 epochs, 0 to 8: normalized_variance; 450 rows in .table>"
    shown = card(history)
    assert "Normalized variance of layer49: 0.020 at epoch 0, 0.017 at epoch 8" in shown.text
    assert shown.rows == 31
    assert "Nothing measured yet" in card(iv.monitor.History()).text


def test_a_line_has_gaps_where_values_are_missing():
    nan = math.nan
    line = Sparkline([1, nan, 2, 3], [0.5, nan, 1.5, nan], [1.5, nan, 2.5, nan], 2.5, ("a", "b"), "Values")
    html = line.html()
    assert html.count("M0 66.67") == 2  # the line, and its first dot
    assert "null dashed" in html
    far = replace(line, reference=100.0)
    assert "null dashed" not in far.html()
    assert far.scale.high == 3
    assert replace(line, values=[1, nan, 2, nan]).html() == ""


def test_a_line_of_many_points_keeps_its_extremes():
    values = np.ones(5000)
    values[1234], values[4321] = 9.0, -1.0
    none = [math.nan] * 5000
    line = Sparkline(values.tolist(), none, none, math.nan, ("a", "b"), "Values")
    assert len(line.html()) < 6000
    assert " 0L" in line.html()
    assert " 100L" in line.html()


def test_a_verdict_lists_broken_layers_first():
    broken = Worst(error=0.5, allowed=0.1, element=1, label="90°", sample=3, reason="below=0.1")
    fine = replace(broken, error=0.01)
    layers = tuple(
        LayerVerdict(f"layer{k}", 0, "trivial", 0.2, 1.0, broken if k == 35 else fine) for k in range(40)
    )
    verdict = Verdict("invariant", layers, (), 0, None, result_of(["layer0"]))
    assert repr(verdict) == f"<Verdict: {verdict.summary}>"
    shown = card(verdict)
    assert shown.text.startswith("Net invariant (40 layers): broken at layer35")
    assert "nulllayer35broken0.51" in shown.text
    assert shown.rows == 31
