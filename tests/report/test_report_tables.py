import pytest
from plot_rows import NAN, result, row

from invariscope.plots.layer_profile import LayerProfile
from invariscope.plots.shared.labels import OUTSIDE, map_measures
from invariscope.report.comparison import compare_all, table
from invariscope.report.page import render
from invariscope.report.tables import row_table


def test_columns_that_hold_nothing_are_left_out():
    spec = row_table([result([row("a", 0.5), row("b", 0.6)])])
    assert spec.keys == ["label", "value", "samples", "units"]


def test_columns_that_tell_rows_apart_are_kept():
    rows = [row("a", 0.5, null=1.0), row("a", 0.4, stratum="cat"), row("a", 2.0, measure="sample_variance")]
    spec = row_table([result(rows, name="x"), result(rows, name="y")])
    assert spec.keys == ["model", "label", "measure", "stratum", "value", "null", "samples", "units"]


def test_missing_numbers_are_null_and_intervals_are_pairs():
    rows = [row("a", NAN), row("b", 0.5, ci_low=0.25, ci_high=0.75), row("c", float("inf"), ci_low=0.1)]
    spec = row_table([result(rows)])
    value, interval = spec.keys.index("value"), spec.keys.index("ci")
    assert [r[value] for r in spec.rows] == [None, 0.5, None]
    assert [r[interval] for r in spec.rows] == [None, [0.25, 0.75], None]


def test_a_value_outside_of_its_interval_shows_the_corrected_estimate():
    around = {"ci_low": 0.25, "ci_high": 0.75, "corrected": 0.5}
    spec = row_table([result([row("a", 0.8, **around), row("b", 0.7, **around)])])
    interval = spec.keys.index("ci")
    assert [r[interval] for r in spec.rows] == [[0.25, 0.75, 0.5, 1], [0.25, 0.75, 0.5]]
    assert spec.shows_corrected
    assert not row_table([result([row("b", 0.7, **around)])]).shows_corrected


def test_the_page_explains_corrected_estimates_only_if_it_shows_one():
    around = {"ci_low": 0.25, "ci_high": 0.75, "corrected": 0.5}
    pages = [render([result([row("a", value, **around)])]) for value in (0.8, 0.7)]
    assert [f'<p class="reading">{OUTSIDE}' in page for page in pages] == [True, False]


def test_the_first_view_is_the_main_measure_over_all_samples():
    rows = [
        row(name, 1.0, measure=m, stratum=s)
        for m in ("b", "normalized_variance")
        for name in "xy"
        for s in ("all", "0")
    ]
    filters = row_table([result(rows)]).filters
    assert [f["selected"] for f in filters] == ["normalized_variance", "all"]
    assert filters[0]["titles"] == [("b", "B"), ("normalized_variance", "Normalized variance")]
    assert filters[1]["titles"] == [("all", "all samples"), ("0", "0")]


TESTS = {"measures": {"anova": {"unit_only": ["anova.p"]}, "worst": {"positions": ["worst.element"]}}}


def test_means_of_what_belongs_to_units_are_in_no_table_and_no_profile_but_stay_in_the_result():
    shares = [row(layer, 0.5, measure="anova.rejecting_bonferroni") for layer in "xy"]
    tests = [row(layer, 0.01, measure="anova.p") for layer in "xy"]
    found = result([*tests, *shares], maps={("anova.p", "x"): [0.01, 0.02]}, **TESTS)
    spec = row_table([found])
    assert "anova.p" not in str(spec.rows)
    assert len(spec.rows) == 2
    assert [view.plot.measure for view in LayerProfile.views([found])] == ["anova.rejecting_bonferroni"]
    assert "anova.p" in set(found.table["measure"])
    assert map_measures(found) == ["anova.p"]
    untold = result([*tests, *shares])
    assert "anova.p" in str(row_table([untold]).rows)


def test_positions_have_no_decimals_beside_other_values():
    rows = [row("x", 27.0, measure="worst.element"), row("x", 0.5, measure="worst")]
    assert row_table([result(rows, **TESTS)]).places == (0, 4)


def test_the_differences_name_both_networks_in_their_headings():
    rows = [row("a", 0.5, replicates=[0.5] * 8, group_sizes=[8] * 8)]
    both = [result(rows, name="plain"), result([{**rows[0], "value": 0.3}], name="rotated")]
    spec = table(compare_all(both), several=False)
    assert [column.label for column in spec.columns][:4] == ["Layer", "plain", "rotated", "Difference"]
    assert spec.rows[0][:4] == ["a", 0.5, 0.3, pytest.approx(-0.2)]


def test_the_differences_say_why_intervals_are_missing_with_the_name_of_the_network():
    plain = row("a", 0.5, replicates=[0.5] * 8, group_sizes=[8] * 8)
    few = row("a", 0.3, ci_low=NAN, ci_high=NAN, note="no interval: few samples")
    spec = table(compare_all([result([plain], name="plain"), result([few], name="rotated")]), several=False)
    assert dict(zip(spec.keys, spec.rows[0], strict=True))["note"] == "rotated: no interval: few samples"


def test_one_result_has_no_table_of_differences():
    assert table(compare_all([result([row("a", 0.5)])]), several=False) is None


def test_a_report_builds_each_table_once_whatever_the_number_of_classes(tmp_path, monkeypatch):
    from invariscope.results import result as module

    counts = {}
    for classes in (2, 200):
        strata = ("all", *(f"c{i}" for i in range(classes)), "mean")
        rows = [row(layer, 0.5, stratum=stratum) for layer in ("conv", "fc") for stratum in strata]
        built = []
        original = module.frame_of
        monkeypatch.setattr(module, "frame_of", lambda *a, built=built, f=original: built.append(1) or f(*a))
        result(rows).report(tmp_path / "report.html")
        monkeypatch.setattr(module, "frame_of", original)
        counts[classes] = len(built)
    assert counts[2] == counts[200]
