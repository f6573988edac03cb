"""`invariscope reproduce`, end to end: killed, resumed, failing, listed, estimated."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope import recipes
from invariscope.cli.app import app

# They share the folder in which all cells are finished.
pytestmark = pytest.mark.xdist_group("recipes")

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
    """Interrupted in its second cell of three; the run that goes on is killed in the third."""
    path, out = recipe(), tmp_path / "out"
    names = ["train/simple_conv", "train/all_conv", "random/0"]
    arguments = [str(path), "--out", str(out), "--threads", "1", "--only", "train/*", "--only", "random/0"]
    kept: dict[str, float] = {}
    for sign, cell in ((signal.SIGINT, names[1]), (signal.SIGKILL, names[2])):
        code, said = ended(arguments, sign, cell)
        before = states(out, path)
        if cell in before:
            pytest.skip("the signal came after the cell: the machine is too busy to end a run in its middle")
        assert list(before) == names[: names.index(cell)]
        assert {name: before[name] for name in kept} == kept
        kept = before
        if sign == signal.SIGINT:
            assert code == 130
            assert "1 of 3 cells are finished; the same command goes on from there." in said
    # A cell ends with the command that was killed, and the one that goes on waits for that.
    done = invoke(*arguments)
    assert done[0] == 0, done[2]
    after = states(out, path)
    assert list(after) == names
    assert {name: after[name] for name in kept} == kept
    page = (out / "tiny.md").read_text()
    assert "3 of 6 cells are finished" in page


def test_one_failing_cell_does_not_stop_the_others_and_stands_on_the_page(recipe, out):
    # So small a share of the images leaves classes with fewer than two samples.
    path = recipe(
        ("samples = 160", "samples = 12"),
        ("samples = 64", "samples = 66"),
        ('standardize = "own"', 'standardize = "own"\nmaps = ["all", "mean"]'),
    )
    code, _, notes = invoke(path, "--out", out, "--threads", "1")
    assert code == 1
    assert "2 of 6 cells failed; the page says why." in notes
    assert "random/0: done in" in notes
    page = (out / "tiny.md").read_text()
    assert "4 of 6 cells are finished" in page
    trouble = page.partition("## Cells that failed")[2].partition("\n## ")[0]
    assert "**nv/all_conv**: error: " in trouble
    assert "variance across samples needs at least two" in trouble
    assert "| The two networks differ. | *not tested* | 0 | 0 | 0 | 0 | 1 |" in page
    assert "No value: nv/simple_conv is not finished, nv/all_conv is not finished." in page
    assert "No figure: none of its cells is finished." in page


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


def test_the_cells_are_listed_with_numbers_stages_and_states(recipe, out):
    code, said, notes = invoke(recipe(("samples = 64", "samples = 65")), "--cells", "--out", out)
    assert code == 0
    rows = [line.split() for line in said.splitlines()[2:] if line.strip()]
    assert ["train/simple_conv", "train", "0", "0", "finished"] in rows
    assert ["random/0", "measure", "2", "0", "to", "do"] in rows
    assert ["accuracy", "measure", "5", "1", "finished"] in rows
    assert "stage 0: cells 0 to 2\nstage 1: cells 3 to 5\n" in notes


def test_a_cell_is_run_by_its_number_and_not_twice(recipe, out):
    path = recipe(("samples = 64", "samples = 65"))
    code, said, _ = invoke(path, "--out", out, "--cell", "2")
    assert code == 0
    manifest = json.loads((Path(said.strip()) / "cell.json").read_text())
    assert (manifest["name"], manifest["options"]["samples"]) == ("random/0", 65)
    code, again, notes = invoke(path, "--out", out, "--cell", "random/0")
    assert (code, again) == (0, said)
    assert "finished already" in notes
    code, _, notes = invoke(path, "--out", out, "--cell", "random/9")
    assert code == 2
    assert "Closest: 'random/0'" in notes


def test_the_estimate_covers_what_is_left_and_runs_nothing(recipe, out):
    path = recipe(("samples = 64", "samples = 2000"), ("Rotation.circle(8)", "Rotation.circle(9)"))
    code, said, _ = invoke(path, "--out", out, "--dry-run", "--threads", "1")
    assert code == 0
    assert "minutes for 3 cells, 1 at a time with 1 thread(s) each; 3 are finished." in said
    assert set(states(out, path)) == {"train/simple_conv", "nv/simple_conv", "accuracy"}


def test_missing_data_are_said_in_one_line_before_anything_runs(recipe, tmp_path):
    path = recipe(('data = "mnist_subset"', 'data = "mnist"'))
    code, _, notes = invoke(path, "--out", tmp_path / "out", "--data-dir", tmp_path)
    assert code == 2
    assert notes.count("\n") == 1
    assert (
        "these cells read mnist (train), mnist_subset (train, test), and there are no train files of mnist in"
        in notes
    )
    assert "train-images-idx3-ubyte" in notes
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_looked_for(recipe, tmp_path):
    path = recipe(('data = "mnist_subset"', 'data = "mnist"'))
    (tmp_path / "file").write_text("mine")
    for out, why in (("file", "it is a file"), ("file/sub", f"{tmp_path / 'file'} is a file")):
        code, _, notes = invoke(path, "--out", tmp_path / out, "--data-dir", tmp_path)
        assert code == 2
        assert f"cannot hold the cells: {why}. Give a folder" in notes
    assert (tmp_path / "file").read_text() == "mine"


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
