"""`invariscope reproduce`, end to end: killed, resumed, failing, listed, estimated."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.cli.app import app
from invariscope.lab import recipes
from invariscope.lab.recipes.frozen import Freeze

HOUR = timedelta(hours=1)
COMMAND = (sys.executable, "-m", "invariscope", "reproduce")


def states(out: Path, path: Path) -> dict[str, float]:
    """Finished cells and when each was finished, to the nanosecond of its file."""
    store = recipes.Store(out, recipes.load(str(path)))
    found = {cell.name: store.folder(cell) / "cell.json" for cell in store.plan.cells}
    return {name: file.stat().st_mtime_ns for name, file in found.items() if file.exists()}


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["reproduce", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def ended(arguments: list[str], sign: int, cell: str) -> tuple[int, str]:
    """Starts the command and sends the signal when that cell begins; (exit code, what was said after it)."""
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr
        while not (line := started.stderr.readline()).endswith(f"] {cell}\n"):
            assert line, f"ended before {cell}"
        started.send_signal(sign)
        said = started.stderr.read()
    return started.returncode, said


def test_a_run_that_is_ended_in_the_middle_keeps_its_cells_and_goes_on(recipe, tmp_path):
    """Interrupted in its second cell of two; the run that goes on is killed in the same cell."""
    path, out = recipe(), tmp_path / "out"
    names = ["train/simple_conv", "random/0"]
    arguments = [str(path), "--out", str(out), "--threads", "1", *(f"--only={name}" for name in names)]
    kept: dict[str, float] = {}
    for sign in (signal.SIGINT, signal.SIGKILL):
        code, said = ended(arguments, sign, names[1])
        before = states(out, path)
        if names[1] in before:
            pytest.skip("the signal came after the cell: the machine is too busy to end a run in its middle")
        assert list(before) == names[:1]
        assert {name: before[name] for name in kept} == kept
        kept = before
        if sign == signal.SIGINT:
            assert code == 130
            assert "1 of 2 cells are finished; run the same command again to continue." in said
    # A cell ends with the command that was killed, and the one that goes on waits for that.
    done = invoke(*arguments)
    assert done[0] == 0, done[2]
    after = states(out, path)
    assert list(after) == names
    assert {name: after[name] for name in kept} == kept
    page = (out / "tiny.md").read_text()
    assert "2 of 12 cells are finished" in page


def test_one_failing_cell_does_not_stop_the_others_and_stands_on_the_page(recipe, out):
    # So small a share of the images leaves classes with fewer than two samples.
    path = recipe(
        ("samples = 160", "samples = 12"),
        ("samples = 64", "samples = 66"),
        ('standardize = "own"', 'standardize = "own"\nmaps = ["all", "mean"]'),
    )
    arguments = ("--out", out, "--threads", "1", "--only", "nv/all_conv", "--only", "random/0")
    code, _, notes = invoke(path, *arguments)
    assert code == 1
    assert "1 of 3 cells failed; the page gives the reasons." in notes
    assert "random/0: done in" in notes
    page = (out / "tiny.md").read_text()
    assert "10 of 12 cells are finished" in page
    trouble = page.partition("## Cells that failed")[2].partition("\n## ")[0]
    assert "**nv/all_conv**: error: " in trouble
    assert "variance across samples needs at least two" in trouble
    assert "| The two networks differ. | *not tested* | 1 of 1: nv/simple_conv is not finished |" in page
    missing = "nv/simple_conv is not finished; nv/all_conv is not finished"
    assert f"No value for 2 of 2 rows: {missing}." in page
    assert "- Layers of all_conv: its cell is not finished." in page


def test_a_whole_page_holds_numbers_intervals_verdicts_and_figures(finished, recipe, tmp_path):
    store = recipes.Store(finished, recipes.load(str(recipe())))
    page = recipes.Page(recipes.Outcomes(store), data_note="only a part of MNIST").write(
        tmp_path / "p/tiny.md"
    )
    text = page.read_text()
    assert "- Data: only a part of MNIST" in text
    assert "- Left out at this scale, 2 cells: random/1, random/2." in text
    row = next(line for line in text.splitlines() if re.match(r"\| simple_conv \| \d\.\d", line))
    _, network, ours, interval, published, _ = (part.strip() for part in row.split("|"))
    assert (network, float(published)) == ("simple_conv", 0.7)
    table = text.partition("## Normalized variance")[2].partition("\n## ")[0]
    assert table.count("epochs 1 (3)") == 1
    assert "Shortened in every row (published in brackets): epochs 1 (3)." in table
    low, high = map(float, interval.split(" to "))
    assert low < high
    value = recipes.Outcomes(store).result("nv/simple_conv").overall()
    assert float(ours) == pytest.approx(value, abs=1e-3)
    for line in text.splitlines():
        if line.startswith("!["):
            assert (page.parent / line.partition("(")[2].rstrip(")")).stat().st_size > 1000
    assert text.count("\n![") == 3
    assert "## Cells that failed" not in text


def claims_of(page: str) -> dict[str, list[str]]:
    """The other columns of the table of claims, by the claim's text."""
    table = page.partition("## Claims\n")[2].partition("\n## ")[0]
    rows = [
        [part.strip() for part in line.split("|")[1:-1]] for line in table.splitlines() if line[:1] == "|"
    ]
    return {text: rest for text, *rest in rows[2:]}


def page_of(out: Path, path: Path, **options) -> str:
    return recipes.Page(recipes.Outcomes(recipes.Store(out, recipes.load(str(path), **options)))).text([])


def test_claims_get_every_verdict_there_is(finished, recipe):
    page = page_of(finished, recipe())
    assert {text: columns[0] for text, columns in claims_of(page).items()} == {
        "The two networks differ.": "*undecided*",
        "It varies.": "*confirmed*",
        "It does not vary.": "*refuted*",
        "Each of two layers varies more than the other.": "*mixed*: 1 of 2 for, 1 against",
        "It varies more than itself.": "*undecided*",
        "Nobody knows.": "*not tested*",
    }
    case = page.partition("### It varies.")[2].partition("\n### ")[0]
    assert "Holds if the value is > 0. Intervals are over samples within trainings." in case
    assert "| value | 95 % interval | trainings | accuracy | p | p (Holm) | verdict |" in case
    assert "Holds if the value is 0 ± 0.01 (less than a hundredth is next to nothing)." in page
    table = page.partition("## Accuracy upright")[2].partition("\n## ")[0]
    assert "Intervals are over samples only." in table
    assert "- Recipe: not frozen (hash " in page


def test_networks_below_their_floor_test_nothing_but_are_shown(finished, recipe):
    page = page_of(finished, recipe(("least = 0.001", "least = 0.999")))
    claims = claims_of(page)
    assert claims["It varies."][0] == "*not tested*"
    assert re.fullmatch(
        r"1 of 1: accuracy 0\.\d+, below 0\.999 \(one image of a thousand\)", claims["It varies."][1]
    )
    assert claims["Each of two layers varies more than the other."][0].startswith("*mixed*")
    assert re.search(
        r"\| 1\.\d+ \| [\d. to]+ \| 3 \| 0\.\d+ \(floor 0\.999\) \| – \| – \| \*not tested\*", page
    )


def test_two_trainings_of_three_test_nothing(out, recipe):
    store = recipes.Store(out, recipes.load(str(recipe())))
    store.remove(store.plan["seeds/1"])
    page = page_of(out, recipe())
    assert claims_of(page)["It varies."][:2] == ["*not tested*", "1 of 1: 2 of 3 training runs are finished"]
    assert "No value: 2 of 3 training runs are finished." in page


def test_fresh_seeds_take_the_place_of_the_recipes_own(recipe, out):
    plan = recipes.load(str(recipe()), seeds=[7, 8, 9])
    assert [cell.name for cell in plan.matching(["seeds/*"])] == ["seeds/7", "seeds/8", "seeds/9"]
    assert "- Fresh seeds: 7, 8, 9." in page_of(out, recipe(), seeds=[7, 8, 9])
    assert plan.history == recipes.load(str(recipe())).history
    code, said, _ = invoke(recipe(), "--seeds", "7,8,9", "--only", "seeds/8", "--out", out, "--cells")
    assert code == 0
    assert ["seeded/8", "train"] in [line.split()[:2] for line in said.splitlines()]
    for seeds, why in (("7,x", "integers separated by commas"), ("7,7", "seeds must be distinct")):
        code, _, notes = invoke(recipe(), "--seeds", seeds, "--out", out)
        assert code == 2
        assert why in notes
    with pytest.raises(ValueError, match=r"tiny\.toml has no list 'seeds'"):
        recipes.load(
            str(recipe(("seeds = [0, 1, 2]\n", ""), *[('"seeds"', "[0, 1, 2]")] * 5)), seeds=[1, 2, 3]
        )


def test_a_case_seen_before_its_claim_was_frozen_is_marked(finished, recipe):
    plan = recipes.load(str(recipe()))
    assert plan.history is not None
    store = recipes.Store(finished, plan)
    times = sorted(filter(None, (recipes.Outcomes(store).finished_at(cell.name) for cell in plan.cells)))
    for date, seen in ((times[0], False), (times[-1] + HOUR, True)):
        freeze = Freeze(date, plan.history.recipe, plan.history.claims)
        known = replace(plan, history=replace(plan.history, freezes=(freeze,)))
        page = recipes.Page(recipes.Outcomes(recipes.Store(finished, known))).text([])
        assert f"- Recipe: frozen {date:%Y-%m-%d %H:%M} UTC, hash {plan.history.recipe}." in page
        case = page.partition("### It varies.")[2].partition("\n### ")[0]
        assert ("seen before" in case) == seen
        assert ("*Seen before*: cases with results" in page) == seen
        assert not seen or claims_of(page)["It varies."][1] == "1 of 1"


def test_the_cells_are_listed_with_numbers_stages_and_states(recipe, out):
    code, said, notes = invoke(recipe(("samples = 64", "samples = 65")), "--cells", "--out", out)
    assert code == 0
    rows = [line.split() for line in said.splitlines()[2:] if line.strip()]
    assert ["train/simple_conv", "train", "0", "0", "finished"] in rows
    assert ["random/0", "measure", "2", "0", "to", "do"] in rows
    assert ["accuracy", "measure", "8", "1", "finished"] in rows
    assert "stage 0: cells 0 to 5\nstage 1: cells 6 to 11\n" in notes


def test_a_cell_is_run_by_its_number_and_not_twice(recipe, out):
    path = recipe(("samples = 64", "samples = 65"))
    code, said, _ = invoke(path, "--out", out, "--cell", "2")
    assert code == 0
    manifest = json.loads((Path(said.strip()) / "cell.json").read_text())
    assert (manifest["name"], manifest["options"]["samples"]) == ("random/0", 65)
    code, again, notes = invoke(path, "--out", out, "--cell", "random/0")
    assert (code, again) == (0, said)
    assert "already finished" in notes
    code, _, notes = invoke(path, "--out", out, "--cell", "random/9")
    assert code == 2
    assert "Closest: 'random/0'" in notes


def test_the_estimate_covers_what_is_left_and_runs_nothing(recipe, out):
    path = recipe(("samples = 64", "samples = 2000"), ("Rotation.circle(8)", "Rotation.circle(9)"))
    code, said, _ = invoke(path, "--out", out, "--dry-run", "--threads", "1")
    assert code == 0
    assert "minutes for 3 cells, 1 at a time with 1 thread(s) each; 9 are already finished." in said
    assert {"train/simple_conv", "nv/simple_conv", "accuracy"} < set(states(out, path))
    assert len(states(out, path)) == 9


def test_missing_data_are_reported_in_one_line_before_anything_runs(recipe, tmp_path):
    path = recipe(('data = "mnist_subset"', 'data = "mnist"'))
    code, _, notes = invoke(path, "--out", tmp_path / "out", "--data-dir", tmp_path)
    assert code == 2
    assert notes.count("\n") == 1
    assert "these cells read mnist (train), mnist_subset (train, test): no train files of mnist in" in notes
    assert "train-images-idx3-ubyte" in notes
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_looked_for(recipe, tmp_path):
    path = recipe(('data = "mnist_subset"', 'data = "mnist"'))
    (tmp_path / "file").write_text("mine")
    for out, why in (("file", "it is a file"), ("file/sub", f"{tmp_path / 'file'} is a file")):
        code, _, notes = invoke(path, "--out", tmp_path / out, "--data-dir", tmp_path)
        assert code == 2
        assert f"cannot hold the cells: {why}. Give a writable folder" in notes
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("option", ["--dry-run", "--cells"])
def test_looking_writes_nothing(recipe, tmp_path, option):
    code, said, _ = invoke(recipe(), option, "--out", tmp_path / "out")
    assert code == 0
    assert "simple_conv" in said
    assert not (tmp_path / "out").exists()


def test_the_data_sets_are_said_in_one_line_with_those_that_are_missing(recipe, tmp_path, out):
    assert "data sets: mnist_subset (train, test)\n" in invoke(recipe(), "--cells", "--out", out)[2]
    assert "data sets: mnist_subset (train, test)\n" in invoke(recipe(), "--dry-run", "--out", out)[2]
    elsewhere = recipe(('data = "mnist_subset"', 'data = "mnist"'))
    listed = invoke(elsewhere, "--cells", "--out", tmp_path / "out", "--data-dir", tmp_path)[2]
    assert (
        "data sets: mnist (train), mnist_subset (train, test); not found: mnist (give their folder with"
        in listed
    )


def test_a_note_beside_the_data_stands_on_the_page(finished, recipe, tmp_path, monkeypatch):
    store = recipes.Store(finished, recipes.load(str(recipe())))
    outcomes = recipes.Outcomes(store)
    assert all(outcomes.manifest(cell) for cell in store.plan.cells)
    (tmp_path / "NOTE.txt").write_text("images went\nthrough JPEG")
    (tmp_path / "images").write_bytes(b"1234")
    monkeypatch.setattr("invariscope.zoo.datasets.files", lambda *_, **__: [tmp_path / "images"])
    assert "- Data: mnist_subset: images went through JPEG" in recipes.Page(outcomes).text([])
