"""Different numbers have different names in every logger, and usual names stay as they are."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import invariscope as iv
from invariscope.loggers.mlflow import metric_name
from invariscope.loggers.scalars import chosen

PLACES = [
    ("blk", 0, "all"), ("blk", 0, "relu"), ("blk/relu", 0, "all"), ("blk", 0, "3"),
    ("a", 1, "all"), ("a, call 1", 0, "all"), ("a call 1", 0, "all"),
    ("x/y", 0, "z"), ("x", 0, "y/z"), ("x - y", 0, "all"), ("x/y", 0, "all"), ("units", 0, "all"),
]  # fmt: skip


def result_of(places, **more) -> iv.Result:
    rows = [
        {"measure": "normalized_variance", "layer": layer, "call": call, "stratum": stratum, "value": 1.0 + k}
        for k, (layer, call, stratum) in enumerate(places)
    ]
    points = [{**row, "element": 0, "label": "5°", "parameter": "x"} for row in rows]
    return iv.Result(rows=rows, curve_rows=points, **more)


RESULT = result_of(PLACES, arrays={("normalized_variance", "units", "all", 0): np.ones((2, 2))})
VALUES = sorted([1.0 + k for k in range(len(PLACES))] * 2)  # of the table and the curves


def test_every_number_has_a_name_of_its_own_and_only_doubles_are_renamed():
    found = list(iv.loggers.scalars(RESULT))
    assert sorted(dict(found).values()) == sorted(value for _, value in found) == VALUES
    table = {name.removeprefix("normalized_variance/") for name, _ in found if not name.startswith("curve/")}
    assert table == {
        "blk", "blk (class relu)", "blk/relu", "blk/3", "a (call 1)", "a, call 1", "a call 1",
        "x/y (class z)", "x (class y/z)", "x - y", "x/y", "units",
    }  # fmt: skip
    assert chosen(RESULT, ["*/blk/relu"]) == {"normalized_variance/blk/relu": 3.0}


def test_numbers_that_cannot_be_told_apart_are_an_error_that_names_both():
    places = [("blk", 0, "relu"), ("blk/relu", 0, "all"), ("blk (class relu)", 0, "all")]
    with pytest.raises(ValueError, match=r"'blk', 0, 'relu'.*'blk \(class relu\)', 0, 'all'.*both be logged"):
        list(iv.loggers.scalars(result_of(places)))


def test_mlflow_has_a_name_for_each():
    names = [name for name, _ in iv.loggers.scalars(RESULT)]
    assert len(set(map(metric_name, names))) == len(names)
    odd = ["m/x - y", "m/x/y", "m/a, call 1", "m/a call 1", "m/a, call 1/3", "m/a call 1/3", "m/a/call 1"]
    odd += [metric_name(name) for name in odd if metric_name(name)[-7:-6] == "-"]
    assert len(set(map(metric_name, odd))) == len(odd)


def test_tensorboard_reads_back_every_number_and_the_heat_map(tmp_path):
    with iv.loggers.TensorBoardWriter(tmp_path) as writer:
        writer(0, RESULT)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()
    assert sorted(event.value for tag in tags["scalars"] for event in events.Scalars(tag)) == VALUES
    assert tags["images"] == ["normalized_variance/units (map)"]


class Run(SimpleNamespace):
    """A run of either tracker, which keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(id="run", info=SimpleNamespace(run_id="run"), kept={}, files=[], axes={})

    def log(self, numbers: dict[str, Any]) -> None:
        self.kept |= numbers

    def define_metric(self, name: str, **about: Any) -> None:
        self.axes[name] = about

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.files.append((artifact.loaded, aliases))

    def log_batch(self, run: str, metrics: list[Any]) -> None:
        self.kept |= {metric.key: metric.value for metric in metrics}

    def log_artifacts(self, run: str, folder: str, place: str) -> None:
        self.files.append((iv.load(folder), [place]))

    def log_figure(self, run: str, figure: Any, name: str) -> None:
        self.kept[name] = figure

    def set_tag(self, run: str, name: str, value: str) -> None:
        self.kept[name] = value


class Artifact:
    """An artifact, whose folder is read while it exists."""

    def __init__(self, name: str, **about: Any) -> None:
        self.name, self.loaded = name, None

    def add_dir(self, folder: str) -> None:
        self.loaded = iv.load(folder)


def metric(key: str, value: float, timestamp: int, step: int) -> SimpleNamespace:
    return SimpleNamespace(key=key, value=value, step=step)


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_trackers_get_every_number_the_heat_map_and_the_files(tracker, monkeypatch):
    run = Run()
    fake = SimpleNamespace(run=run, Image=lambda image: image, Table=lambda dataframe: dataframe)
    fake.Artifact, fake.entities, fake.active_run = Artifact, SimpleNamespace(Metric=metric), lambda: run
    fake.MlflowClient = lambda: run
    monkeypatch.setitem(sys.modules, tracker, fake)
    make = {"mlflow": iv.loggers.MLflowWriter, "wandb": iv.loggers.WandbWriter}[tracker]
    with make(images=True) as writer:
        writer(3, RESULT)
    numbers = [v for name, v in run.kept.items() if isinstance(v, float) and name != "invariscope/step"]
    assert sorted(numbers) == VALUES
    assert any("units (map)" in name or "units _map_" in name for name in run.kept)
    ((loaded, where),) = run.files
    assert loaded.rows == RESULT.rows
    assert where == {"mlflow": ["invariscope/step-3"], "wandb": ["latest", "step-3"]}[tracker]
    run.kept.clear()
    with make(curves=False, artifacts=False) as writer:
        writer(4, RESULT)
    assert sum(isinstance(value, float) for value in run.kept.values()) == len(PLACES)
    assert len(run.files) == 1


def test_the_metric_of_torchmetrics_has_a_name_for_each_layer():
    pytest.importorskip("torchmetrics")
    model = nn.Sequential()
    model.add_module("a", shared := nn.Flatten())
    model.add_module("a, call 1", nn.Flatten())
    model.add_module("again", shared)
    found = iv.loggers.SymmetryMetric(iv.QuarterTurns(), rows="all")
    found.update(model, torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    names = {f"normalized_variance/{name}" for name in ("a", "a, call 1", "a (call 1)")}
    assert set(found.compute()) == names
