"""Finished cells: found again, checked, never half there."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.cli.app import app
from invariscope.lab import recipes
from invariscope.lab.recipes.store import BusyError


def store_of(out: Path, recipe: Path, **options) -> recipes.Store:
    return recipes.Store(out, recipes.load(str(recipe), **options))


def to_run(store: recipes.Store) -> list[str]:
    return [cell.name for cell in store.plan.cells if store.manifest(cell) is None]


def run(store: recipes.Store, name: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    return recipes.run_cell(store, store.plan[name], threads=1, log=said.append), said


def test_finished_cells_are_not_run_again(out, recipe):
    store = store_of(out, recipe())
    assert to_run(store) == []
    assert run(store, "nv/all_conv") == (False, [])


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("samples = 64", "samples = 65", ["random/0"]),
        ("Rotation.circle(8)", "Rotation.circle(9)", ["train/all_conv", "nv/all_conv"]),
        ("the {network}", "that {network}", []),
        ("lr = 1e-2", 'lr = 1e-2\nprecision = "float32"', []),
        ("lr = 1e-2", "lr = 1e-3", ["train/simple_conv", "train/all_conv", "nv/simple_conv", "nv/all_conv",
                                    "accuracy"]),
    ],
)  # fmt: skip
def test_a_changed_option_runs_only_what_depends_on_it(out, recipe, old, new, again):
    assert sorted(to_run(store_of(out, recipe((old, new))))) == sorted(again)


def test_other_data_in_the_same_place_is_noticed(recipe, tmp_path, monkeypatch):
    files = [tmp_path / name for name in ("images", "labels")]
    for file in files:
        file.write_bytes(b"1234")
    monkeypatch.setattr("invariscope.zoo.datasets.files", lambda *_, **__: files)
    before = store_of(tmp_path / "out", recipe())
    keys = {cell.name: before.key(cell) for cell in before.plan.cells}
    files[1].write_bytes(b"12345")
    after = store_of(tmp_path / "out", recipe())
    assert all(after.key(cell) != keys[cell.name] for cell in after.plan.cells)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest"])
def test_a_damaged_cell_is_noticed_and_run_again(out, recipe, damage):
    store = store_of(out, recipe())
    folder = store.folder(store.plan["random/0"])
    result = folder / "result" / "result.json"
    if damage == "flip":
        result.write_text(result.read_text().replace("0", "1", 1))
    elif damage == "truncate":
        result.write_bytes(result.read_bytes()[:-1])
    elif damage == "delete":
        result.unlink()
    else:
        (folder / "cell.json").write_text("{")
    ran, said = run(store, "random/0")
    assert ran
    assert "random/0 is damaged" in said[0]
    assert store.manifest(store.plan["random/0"]) is not None
    assert run(store, "random/0")[0] is False


def test_a_cell_whose_needs_are_unfinished_or_damaged_is_refused(out, recipe):
    store = store_of(out, recipe(("Rotation.circle(8)", "Rotation.circle(9)")))
    with pytest.raises(ValueError, match="nv/all_conv needs train/all_conv, which is not finished"):
        run(store, "nv/all_conv")
    store = store_of(out, recipe(("samples = 160", "samples = 161")))
    (store.folder(store.plan["train/all_conv"]) / "network" / "card.json").write_text("{}")
    with pytest.raises(ValueError, match=r"which is damaged \(.*card.json differs from its checksum\)"):
        run(store, "nv/all_conv")


def test_a_cell_that_fails_half_way_leaves_nothing_that_counts(out, recipe, monkeypatch):
    store = store_of(out, recipe(("samples = 64", "samples = 65")))

    def fails(self, context):
        (context.folder / "half").write_text("written")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("invariscope.lab.recipes.kinds.measure.MeasureCell.run", fails)
    with pytest.raises(OSError, match="No space left"):
        run(store, "random/0")
    monkeypatch.undo()
    assert not list(out.rglob("half"))
    assert store.manifest(store.plan["random/0"]) is None
    assert run(store, "random/0")[0] is True


def test_an_interrupted_training_goes_on_from_its_last_epoch(tmp_path, recipe, monkeypatch):
    from invariscope.zoo.epochs import Loop

    whole = store_of(tmp_path / "whole", recipe(), scale="paper")
    run(whole, "train/simple_conv")
    broken = store_of(tmp_path / "broken", recipe(), scale="paper")
    epoch = Loop.run

    def interrupts(self, number, optimizer):
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number, optimizer)

    monkeypatch.setattr(Loop, "run", interrupts)
    with pytest.raises(KeyboardInterrupt):
        run(broken, "train/simple_conv")
    started: list[int] = []
    monkeypatch.setattr(Loop, "run", lambda self, n, o: started.append(n) or epoch(self, n, o))
    run(broken, "train/simple_conv")
    assert started == [2]
    for network in ("network", "network@0", "network@1"):
        first, second = (
            store.folder(store.plan["train/simple_conv"]) / network / "weights.safetensors"
            for store in (whole, broken)
        )
        assert first.read_bytes() == second.read_bytes()


def test_two_processes_do_not_run_the_same_cell(out, recipe):
    store = store_of(out, recipe(("samples = 64", "samples = 65")))
    with (
        store.making(store.plan["random/0"], 1),
        pytest.raises(BusyError, match=r"random/0 is in use by another process \(process \d+, since"),
    ):
        run(store, "random/0")


def test_a_cell_that_cannot_be_moved_into_place_is_kept_until_it_is_finished(recipe, tmp_path, monkeypatch):
    store = store_of(tmp_path, recipe())
    cell = store.plan["train/all_conv"]

    def fill() -> None:
        with store.making(cell, 1) as (folder, _):
            (folder / "weights").write_text("precious")

    def denied(part, folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(part))

    with monkeypatch.context() as patch:
        patch.setattr("invariscope.lab.recipes.store.appear", denied)
        with pytest.raises(OSError, match="train/all_conv cannot be finished") as raised:
            fill()
    kept = Path(str(raised.value).partition("its files are kept in ")[2])
    assert (kept / "weights").read_text() == "precious"
    assert store.manifest(cell) is None
    fill()
    assert (store.folder(cell) / "weights").read_text() == "precious"
    assert not kept.exists()


def test_a_network_kept_during_training_can_be_measured(out, recipe):
    model = 'model = "train/simple_conv"'
    at_start = store_of(out, recipe((model, model[:-1] + '@0"')))
    run(at_start, "accuracy")
    trained = store_of(out, recipe())
    values = []
    for store in (at_start, trained):
        document = json.loads((store.folder(store.plan["accuracy"]) / "result/result.json").read_text())
        values.append([row["value"] for row in document["rows"]])
    assert values[0] != values[1]


def test_training_goes_on_from_another_cell_with_a_fresh_head(out, recipe):
    further = """
[[cells]]
kind = "train"
name = "further"
options = { data = "mnist_subset", network = "simple_conv", network_options = { filters = 2 }, epochs = 1, \
samples = 64, start = "train/simple_conv", fresh = ["fc2.*"], trained = ["head"] }

[[tables]]
title = "Normalized variance"
"""
    path = recipe(('\n[[tables]]\ntitle = "Normalized variance"\n', further))
    store = store_of(out, path)
    run(store, "further")
    from safetensors.numpy import load_file

    before, after = (
        load_file(store.folder(store.plan[name]) / "network" / "weights.safetensors")
        for name in ("train/simple_conv", "further")
    )
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {"fc2.weight", "fc2.bias"}


def test_an_unwritable_folder_is_one_clear_line(recipe, tmp_path):
    (tmp_path / "file").write_text("in the way")
    arguments = ("--out", str(tmp_path / "file" / "out"), "--cell", "random/0")
    done = CliRunner().invoke(app, ["reproduce", str(recipe()), *arguments])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "file") in done.stderr


def test_a_disk_that_fills_up_is_one_clear_line_and_leaves_no_half_written_cell(recipe, out):
    path = recipe(("samples = 64", "samples = 65"))
    words = ["reproduce", str(path), "--out", str(out), "--cell", "random/0"]
    done = subprocess.run(
        [sys.executable, "-m", "invariscope", *words],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
        },  # Python would keep what fits of a module's bytecode
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    store = store_of(out, path)
    assert store.manifest(store.plan["random/0"]) is None
    assert not store.folder(store.plan["random/0"]).exists()


def test_a_finished_cell_is_found_under_another_name(out, recipe):
    store = store_of(out, recipe())
    cell = store.plan["nv/all_conv"]
    other = replace(cell, name="another/name")
    assert store.folder(other) == store.folder(cell)
    assert store.manifest(other)["name"] == cell.name
    assert run(store, "nv/all_conv") == (False, [])
