"""`invariscope report` and `invariscope compare` on saved runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import invariscope as iv
from invariscope.plots.shared.labels import where
from invariscope.report.findings import compared, transform_name


def test_compare_shows_both_values_the_difference_and_its_interval(finished, invoke):
    finished("a", "--label", "first")
    finished("b", "--label", "second", "--weights", "random")
    done = invoke("compare", "a", "b")
    assert done.exit_code == 0, done.output
    assert re.search(r"layer +first +second +difference +95 % interval +p", done.stdout)
    assert re.search(r"^3 +\d\.\d+ +\d\.\d+ +[+−]\d\.\d+ +\S+ to \S+ +", done.stdout, re.M)


def test_compare_says_why_a_difference_has_no_interval(finished, invoke):
    few = ("--samples", "40")
    finished("a", "--label", "first", *few)
    finished("b", "--label", "second", "--weights", "random", *few)
    done = invoke("compare", "a", "b")
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    rows = iv.compare(iv.load("a"), iv.load("b"))
    assert (rows["ci_low"].notna() | rows["note"].astype(bool)).all()
    shown = where(rows, stratum="all")
    assert any("no interval: the smallest group has 4 of 8 samples needed" in line for line in notes)
    counts = [1 if line.endswith("(one row)") else int(line.rsplit("(")[-1].split()[0]) for line in notes]
    assert sum(counts) == shown["ci_low"].isna().sum() > 0


def test_the_reason_of_one_run_alone_names_it(finished, invoke):
    finished("a", "--label", "first")
    finished("b", "--label", "second")
    run = iv.load("b")
    own = {"replicates": (), "ci_low": float("nan"), "note": "no interval yet: 2 samples decide"}
    rows = [replace(row, **own) if row.layer == "3" else row for row in run.rows]
    replace(run, rows=rows).save("c")
    assert "note: second: no interval yet: 2 samples decide (" in invoke("compare", "a", "c").stderr


def test_compare_counts_layers_in_the_words_of_the_report(finished, invoke):
    finished("a", "--label", "first", "--by-class")
    finished("b", "--label", "second", "--weights", "random", "--by-class")
    runs = [iv.load(name) for name in ("a", "b")]
    rows = where(iv.compare(runs), measure="normalized_variance", stratum="all")
    expected = compared(rows, "normalized_variance", transform_name(runs[0]))
    shown = " ".join(invoke("compare", "a", "b").stdout.split())
    assert " ".join(expected.split()) in shown
    shown = " ".join(invoke("compare", "a", "b", "--stratum", "mean").stdout.split())
    assert f"Under {transform_name(runs[0])} (mean over classes), " in shown


def test_runs_of_one_name_are_told_apart(finished, invoke):
    finished("a")
    finished("b")
    assert "net:make (1)  net:make (2)" in invoke("compare", "a", "b").stdout


def test_the_mean_over_classes_can_be_compared(finished, invoke, fails):
    finished("a", "--by-class")
    finished("b", "--by-class")
    assert "Normalized variance, mean" in invoke("compare", "a", "b", "--stratum", "mean").stdout
    assert "unknown stratum '7'" in fails("compare", "a", "b", "--stratum", "7")


def test_runs_of_different_samples_are_not_compared(finished, fails):
    finished("a")
    finished("b", "--samples", "90")
    assert "measured with different data" in fails("compare", "a", "b")


def test_a_report_shows_several_runs_in_one_file(finished, invoke):
    finished("a", "--label", "first")
    finished("b", "--label", "second<script>")
    done = invoke("report", "a", "b", "--out", "pages/both.html")
    assert done.exit_code == 0, done.output
    assert done.stdout == "pages/both.html\n"
    page = Path("pages/both.html").read_text()
    assert "first" in page
    assert "second<script>" not in page
    assert [path.name for path in Path("pages").iterdir()] == ["both.html"]


def test_a_file_that_ends_in_md_is_a_model_card_of_one_run(finished, invoke, fails):
    finished("a", "--label", "first")
    finished("b")
    for options in ((), ("--overwrite",)):
        done = invoke("report", "a", "--out", "card.md", *options)
        assert done.exit_code == 0, done.output
        assert Path("card.md").read_text() == str(iv.load("a").model_card())
    assert "a model card is on one run, got 2" in fails("report", "a", "b", "--out", "card.md", "--overwrite")
    Path("README.md").write_text("# My model\n")
    assert "README.md" in fails("report", "a", "--out", "README.md", "--overwrite")
    assert Path("README.md").read_text() == "# My model\n"


def test_a_report_is_not_overwritten_unasked(finished, invoke, fails):
    finished("a")
    Path("report.html").write_text("precious")
    assert "already exists" in fails("report", "a")
    assert Path("report.html").read_text() == "precious"
    assert "is not an HTML page" in fails("report", "a", "--overwrite")
    Path("report.html").write_text("<!DOCTYPE html>precious")
    assert invoke("report", "a", "--overwrite").exit_code == 0
    assert "precious" not in Path("report.html").read_text()
    assert "is a folder" in fails("report", "a", "--out", "a")


@pytest.mark.parametrize("command", [["compare", "a", "nowhere"], ["report", "nowhere"]])
def test_a_folder_without_a_run_is_named(command, finished, fails):
    finished("a")
    assert "no result.json in nowhere" in fails(*command)
    assert not Path("report.html").exists()


def test_a_missing_run_is_told_before_a_page_that_is_there(fails):
    Path("report.html").write_text("precious")
    assert "no result.json in nowhere" in fails("report", "nowhere")
    assert Path("report.html").read_text() == "precious"


def test_a_truncated_run_is_refused(finished, fails):
    path = finished("a") / "result.json"
    path.write_text(path.read_text()[:-100])
    assert "truncated" in fails("report", "a")


@pytest.mark.parametrize("name", ["result.json", "maps.safetensors"])
def test_a_report_never_replaces_a_file_of_another_kind(finished, fails, name):
    finished("a")
    before = Path(f"a/{name}").read_bytes()
    assert "is not an HTML page" in fails("report", "a", "--out", f"a/{name}", "--overwrite")
    assert Path(f"a/{name}").read_bytes() == before
