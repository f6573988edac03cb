"""Averaged weights, and trainings that are killed within an epoch and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from invariscope.transforms import Rotation
from invariscope.zoo import build, evaluate, load, train
from invariscope.zoo.averaging import WeightAverage
from invariscope.zoo.tensors import read_tensors

FEW = load("mnist_subset", split="train", samples=96)
EVERYTHING = {
    "epochs": 3, "batch_size": 32, "optimizer": "sgd", "lr": 0.05, "schedule": "one_cycle",
    "weight_decay": 5e-4, "label_smoothing": 0.1, "flip": True, "crop_px": 2, "ema": 0.9,
    "augmentation": Rotation.circle(8), "seed": 3,
}  # fmt: skip


def dropping() -> nn.Module:
    return nn.Sequential(build("simple_conv", filters=4, fc=8, batch_norm=True), nn.Dropout(0.5))


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def stopped_at(epoch: int, batch: int):
    def stop(at) -> None:
        if (at.epoch, at.batch) == (epoch, batch):
            raise KeyboardInterrupt

    return stop


@pytest.fixture
def every_batch(monkeypatch):
    """Checkpoints are written after every batch."""
    monkeypatch.setattr("invariscope.zoo.bookmark.SAVE_EVERY_S", 0.0)


@pytest.mark.parametrize(
    "layout", [{}, {"precision": "bf16", "channels_last": True}, {"optimizer": "adam", "weight_decay": 0.0}]
)
def test_a_training_stopped_in_three_places_equals_an_uninterrupted_one(tmp_path, layout):
    """Where it is stopped its place is written at once, even after an epoch's last batch."""
    options = {**EVERYTHING, "test": FEW, **layout}
    whole = dropping()
    wanted = train(whole, FEW, **options)
    for place in ((1, 1), (2, 2), (3, 3)):
        with pytest.raises(KeyboardInterrupt):
            train(dropping(), FEW, checkpoint=tmp_path / "at", progress=stopped_at(*place), **options)
    resumed, seen = dropping(), []
    found = train(resumed, FEW, checkpoint=tmp_path / "at", progress=seen.append, **options)
    assert same(whole, resumed)
    assert without_seconds(found.history) == without_seconds(wanted.history)
    assert seen == []


def test_a_killed_training_is_continued(tmp_path, every_batch):
    script = (
        "import os, signal, sys\nsys.path.insert(0, {tests!r})\n"
        "import torch\ntorch.set_num_threads({threads})\n"  # rounding depends on it
        "import invariscope.zoo.bookmark as bookmark\nbookmark.SAVE_EVERY_S = 0.0\n"
        "from test_averaged_and_resumed import *\n"
        "def kill(at):\n    if (at.epoch, at.batch) == (2, 2): os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(dropping(), FEW, checkpoint={place!r}, progress=kill, **EVERYTHING)\n"
    )
    here = {"tests": os.path.dirname(__file__), "threads": torch.get_num_threads()}
    text = script.format(**here, place=str(tmp_path / "at"))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole, resumed, seen = dropping(), dropping(), []
    train(whole, FEW, **EVERYTHING)
    train(resumed, FEW, checkpoint=tmp_path / "at", progress=seen.append, **EVERYTHING)
    assert same(whole, resumed)
    assert (seen[0].epoch, seen[0].batch) == (2, 3)


def test_within_an_epoch_the_file_is_written_once_a_minute(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr("invariscope.zoo.bookmark.time.monotonic", lambda: now[0])
    monkeypatch.setattr("invariscope.zoo.bookmark.save_checkpoint", lambda *_: written.append(now[0]))

    def pass_time(at) -> None:
        now[0] += 25

    train(dropping(), FEW, epochs=1, batch_size=10, checkpoint=tmp_path / "at", progress=pass_time)
    assert written == [75, 150, 250]  # the last one after the whole epoch


def test_a_monitor_is_not_called_again_in_the_middle_of_an_epoch(tmp_path, every_batch):
    def watch(calls):
        return lambda model, epoch: calls.append(epoch) or [{"epoch": epoch, "value": epoch}]

    calls, options = [], {**EVERYTHING, "checkpoint": tmp_path / "at"}
    with pytest.raises(KeyboardInterrupt):
        train(dropping(), FEW, monitor=watch([]), progress=stopped_at(2, 1), **options)
    found = train(dropping(), FEW, monitor=watch(calls), **options)
    assert calls == [2, 3]
    assert [record["epoch"] for record in found.measured] == [0, 1, 2, 3]


def test_a_finished_training_gives_the_averaged_network_again(tmp_path):
    first, again = dropping(), dropping()
    options = {**EVERYTHING, "epochs": 1, "checkpoint": tmp_path / "at"}
    train(first, FEW, **options)
    train(again, FEW, progress=lambda at: pytest.fail("trained again"), **options)
    assert same(first, again)
    raw = read_tensors(tmp_path / "at")[0]
    assert not torch.equal(raw["model.0.conv1.weight"], first[0].conv1.weight)
    assert torch.equal(raw["average.0.conv1.weight"], first[0].conv1.weight)


def test_the_average_has_the_formula_of_its_docstring():
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    average, wanted = WeightAverage(model, 0.5), 0.0
    for step in range(20):
        nn.init.constant_(model.weight, step + 1.0)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * (step + 1)
    assert float(average.values["weight"]) == pytest.approx(wanted, rel=1e-6)


def test_running_statistics_are_averaged_and_counts_are_not():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.9)
    model.running_mean.fill_(1.0)
    model.num_batches_tracked.fill_(7)
    average.update(0)
    before = model.running_mean.clone()
    with average.swapped_in():
        torch.testing.assert_close(model.running_mean, torch.full((2,), 0.9))
        assert int(model.num_batches_tracked) == 7
    assert torch.equal(model.running_mean, before)


def test_tests_and_monitors_see_the_average_and_steps_do_not():
    accuracies, model, plain = [], dropping(), dropping()
    options = {**EVERYTHING, "ema": 0.99}
    found = train(
        model, FEW, test=FEW, monitor=lambda m, epoch: accuracies.append(evaluate(m, FEW)) or None, **options
    )
    assert accuracies[1:] == [record["test_accuracy"] for record in found.history]
    assert found.test_accuracy == evaluate(model, FEW)
    without = train(plain, FEW, **{**options, "ema": 0.0})
    assert [r["loss"] for r in without.history] == [r["loss"] for r in found.history]
    assert not same(model, plain)


def test_a_decay_of_one_is_refused():
    with pytest.raises(ValueError, match=r"ema must be at least 0 and below 1; got ema=1\.0"):
        train(dropping(), FEW, epochs=1, ema=1.0)
