"""`invariscope train`, and what it leaves behind after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invariscope import zoo
from invariscope.monitor import load_history

TRAIN = ("train", "simple_conv(filters=2)", "digits.npz", "--out", "nets/plain", "--epochs", "2")


def test_a_trained_folder_is_a_model_to_measure(invoke):
    done = invoke(*TRAIN, "-a", "Rotation.circle(4)", "--seed", "5", "--test", "digits.npz")
    assert done.exit_code == 0, done.output
    assert done.stdout == "nets/plain\n"
    assert "accuracy on the test data" in done.stderr
    card = json.loads(Path("nets/plain/card.json").read_text())
    assert (card["network"], card["input_shape"], card["classes"]) == (
        "simple_conv",
        [1, 8, 8],
        ["0", "1", "2"],
    )
    assert card["training"]["augmentation"]["family"] == "rotation"
    assert len(card["training"]["history"]) == 2
    measured = invoke("measure", "nets/plain", "digits.npz", "-t", "Rotation.circle(4)")
    assert measured.exit_code == 0, measured.output
    assert "Normalized variance of plain" in measured.stdout


def test_the_same_seed_gives_the_same_weights(invoke):
    for name in ("a", "b"):
        assert invoke(*TRAIN, "--out", name).exit_code == 0
    assert Path("a/weights.safetensors").read_bytes() == Path("b/weights.safetensors").read_bytes()


def test_the_settings_of_the_training_reach_it_and_its_card(invoke):
    done = invoke(
        *(*TRAIN, "--optimizer", "sgd", "--lr", "0.05", "--schedule", "one_cycle", "--weight-decay", "5e-4"),
        *("--label-smoothing", "0.1", "--flip", "--crop", "2", "--ema", "0.9", "--precision", "auto"),
    )
    assert done.exit_code == 0, done.output
    training = json.loads(Path("nets/plain/card.json").read_text())["training"]
    wanted = {"optimizer": "sgd", "lr": 0.05, "schedule": "one_cycle", "weight_decay": 5e-4, "flip": True}
    wanted |= {"label_smoothing": 0.1, "crop_px": 2, "ema": 0.9}
    assert {name: training[name] for name in wanted} == wanted
    assert training["precision"] in ("float32", "bf16")


def test_a_data_set_is_trained_on_its_training_split_and_tested_on_the_other(invoke):
    done = invoke(
        *("train", "zoo:simple_conv(filters=1)", "mnist_subset", "--out", "net", "--epochs", "1"),
        *("--samples", "64", "--standardize"),
    )
    assert done.exit_code == 0, done.output
    training = json.loads(Path("net/card.json").read_text())["training"]
    assert (training["data"]["split"], training["data"]["samples"]) == ("train", 64)
    assert training["test_accuracy"] is not None
    assert len(training["data"]["mean"]) == 1


def test_a_used_folder_is_refused_before_training(fails):
    Path("nets/plain").mkdir(parents=True)
    Path("nets/plain/card.json").write_text("precious")
    assert "already holds" in fails(*TRAIN)
    assert Path("nets/plain/card.json").read_text() == "precious"


def interrupted_after(epochs: int, monkeypatch) -> None:
    run = zoo.epochs.Loop.run

    def interrupting(self, epoch, optimizer):
        if epoch == epochs:
            raise KeyboardInterrupt
        return run(self, epoch, optimizer)

    monkeypatch.setattr(zoo.epochs.Loop, "run", interrupting)


def test_an_interrupted_training_leaves_no_network_and_resumes(invoke, monkeypatch):
    assert invoke(*TRAIN, "--out", "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        done = invoke(*TRAIN)
    assert done.exit_code == 130
    assert "no network was written; the same command with --resume" in done.stderr
    assert [path.name for path in Path("nets").iterdir()] == ["plain.unfinished.safetensors"]
    assert invoke(*TRAIN, "--resume").exit_code == 0
    assert (
        Path("nets/plain/weights.safetensors").read_bytes() == Path("whole/weights.safetensors").read_bytes()
    )
    assert [path.name for path in Path("nets").iterdir()] == ["plain"]


def test_an_interrupted_run_is_neither_continued_nor_deleted_without_being_asked(invoke, fails, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        assert invoke(*TRAIN, "--monitor", "--monitor-transform", "quarter_turns").exit_code == 130

    def left():
        return {path: path.read_bytes() for path in Path("nets").rglob("*") if path.is_file()}

    before = left()
    assert len(before) > 1
    said = fails(*TRAIN)
    assert "nets/plain.unfinished.safetensors holds an interrupted run" in said
    assert "--resume" in said
    assert "--overwrite" in said
    assert "unknown network" in fails(TRAIN[0], "simple_cnov", *TRAIN[2:], "--overwrite")
    assert left() == before
    assert invoke(*TRAIN, "--overwrite").exit_code == 0
    assert [path.name for path in Path("nets").iterdir()] == ["plain"]


def test_without_a_whole_epoch_nothing_is_left(invoke, monkeypatch):
    interrupted_after(0, monkeypatch)
    done = invoke(*TRAIN)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (130, "interrupted: nothing was written.")
    assert not Path("nets").exists() or not list(Path("nets").iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "simple_cnov", "digits.npz", "--out", "net"], "Closest: 'simple_conv'"),
        (["train", "simple_conv(filtres=2)", "digits.npz", "--out", "net"], "Closest: 'filters'"),
        ([*TRAIN, "-a", "rotatoin"], "Closest: 'rotation'"),
        ([*TRAIN, "--epochs", "0"], "at least 1"),
        ([*TRAIN, "--precision", "bf61"], "Closest: 'bf16'"),
        ([*TRAIN, "--schedule", "one_cylce"], "Closest: 'one_cycle'"),
        ([*TRAIN, "--weight-decay", "0.1"], 'only supported by optimizer="sgd"'),
        ([*TRAIN, "--crop", "8"], "more than crop_px pixels"),
        (["train", "simple_conv", "unlabelled.npy", "--out", "net"], "has no labels"),
    ],
)
def test_bad_input_gets_one_clear_line_and_leaves_nothing(arguments, said, fails, workplace):
    np.save("unlabelled.npy", np.zeros((4, 1, 8, 8), dtype=np.float32))
    before = {path.name for path in workplace.iterdir()}
    assert said in fails(*arguments).splitlines()[-1]
    assert {path.name for path in workplace.iterdir()} == before


def test_curves_over_epochs_are_shown_and_kept_with_the_network(invoke):
    done = invoke(*TRAIN, "--epochs", "5", "--monitor", "--monitor-every", "2", "--test", "digits.npz")
    assert done.exit_code == 0, done.output
    title, head, first, *_ = done.stdout.splitlines()
    assert title.strip() == "Normalized variance over epochs"
    assert head.split() == ["layer", "0", "2", "4", "5"]
    assert done.stdout.splitlines()[-1] == "nets/plain"
    assert re.search(
        r"measuring took [\d.]+% of the training time \([\d.]+ s for 4 measurements\)", done.stderr
    )
    history = load_history("nets/plain/monitor")
    shown = history.table.query("layer == 'conv1' and stratum == 'all'")["value"]
    assert first.split()[0] == "conv1"
    assert [float(cell) for cell in first.split()[1:]] == pytest.approx(list(shown), abs=1e-3)
    kept = json.loads(Path("nets/plain/card.json").read_text())["training"]["measured"]
    assert sorted({row["epoch"] for row in kept}) == [0, 2, 4, 5]
    assert [row["value"] for row in kept if row["layer"] == "conv1"] == list(shown)
    assert [path.name for path in Path("nets").iterdir()] == ["plain"]
    assert invoke("measure", "nets/plain", "digits.npz", "-t", "Rotation.circle(4)").exit_code == 0


def test_an_interrupted_training_resumes_its_curves(invoke, monkeypatch):
    watched = (*TRAIN, "--monitor", "--monitor-transform", "quarter_turns")
    assert invoke(*watched, "--out", "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        assert invoke(*watched).exit_code == 130
    assert sorted(path.name for path in Path("nets").iterdir()) == [
        "plain.unfinished.monitor",
        "plain.unfinished.safetensors",
    ]
    assert invoke(*watched, "--resume").exit_code == 0
    tables = [load_history(f"{folder}/monitor").table for folder in ("whole", "nets/plain")]
    pd.testing.assert_frame_equal(*tables)
    assert [path.name for path in Path("nets").iterdir()] == ["plain"]


def test_a_monitored_training_without_a_whole_epoch_leaves_nothing(invoke, monkeypatch):
    interrupted_after(0, monkeypatch)
    assert invoke(*TRAIN, "--monitor").exit_code == 130
    assert not Path("nets").exists() or not list(Path("nets").iterdir())


def test_bad_options_of_the_monitor_are_refused_before_training(fails):
    assert "every must be an integer, at least 1; got 0" in fails(*TRAIN, "--monitor", "--monitor-every", "0")
    assert "Closest: 'rotation'" in fails(*TRAIN, "--monitor", "--monitor-transform", "rotatoin")
