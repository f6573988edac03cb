"""A monitor gives what measuring by hand gives, leaves the training as it is, and goes on after a break."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.monitor import Monitor, load_history

DIGITS = zoo.load("mnist_subset", samples=96)
FEW = zoo.load("mnist_subset", split="train", samples=64)


def net(seed: int = 0) -> nn.Module:
    return zoo.build("simple_conv", filters=2, fc=8, seed=seed)


def watched(**options) -> Monitor:
    return Monitor(DIGITS, iv.Rotation.circle(4), **{"samples": 72, "layers": ["conv*", "fc2"], **options})


def moved(model: nn.Module, by: float) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)
    return model


class Ticking:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Ticking:
    ticking = Ticking()
    monkeypatch.setattr("invariscope.monitor.clock.perf_counter", ticking)
    return ticking


def test_a_measurement_is_the_one_that_iv_measure_makes_of_the_same_subset():
    monitor = watched(measures=["normalized_variance", "prediction"], by_class=True, seed=3)
    monitor(net(), 0)
    alone = iv.measure(
        net(), DIGITS, iv.Rotation.circle(4), measures=["normalized_variance", "prediction"],
        layers=["conv*", "fc2"], samples=72, by_class=True, seed=3, progress=False,
    )  # fmt: skip
    pd.testing.assert_frame_equal(monitor.results[0].table, alone.table)
    pd.testing.assert_frame_equal(monitor.table.drop(columns="epoch"), alone.table)
    pd.testing.assert_frame_equal(monitor.results[0].curves, alone.curves)
    assert monitor.results[0].provenance["data"] == alone.provenance["data"]


def test_draws_of_a_jittered_transform_are_the_same_at_every_epoch():
    monitor = Monitor(DIGITS, iv.Rotation.circle(4, jitter_deg=5), samples=40, layers="conv1")
    model = net()
    for epoch in range(2):
        monitor(model, epoch)
    first, second = (monitor.results[epoch].table for epoch in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_it_measures_before_training_and_after_every_kth_epoch():
    monitor, model = watched(every=3), net()
    returned = [monitor(model, epoch) is not None for epoch in range(8)]
    assert [epoch for epoch, given in enumerate(returned) if given] == [0, 3, 6]
    assert list(monitor.results) == [0, 3, 6]
    assert monitor.times["measured"].tolist() == returned
    monitor.measure(model, 7)
    assert list(monitor.results) == [0, 3, 6, 7]
    assert sorted(set(monitor.table["epoch"])) == [0, 3, 6, 7]


def test_the_rows_that_it_returns_are_plain_and_hold_the_tables_numbers():
    monitor = watched(measures=["normalized_variance", "transformation_variance"])
    rows = monitor(net(), 0)
    text = json.dumps(rows, allow_nan=False)
    given = pd.DataFrame(json.loads(text)).astype({"ci_low": float, "ci_high": float})
    pd.testing.assert_frame_equal(given, monitor.table[list(given.columns)], check_dtype=False)


def test_where_there_is_no_number_a_plain_row_says_none():
    monitor = watched(samples=16)
    rows = monitor(net(), 0)
    assert {row["ci_low"] for row in rows} == {None}
    assert monitor.table["ci_low"].isna().all()


def test_training_with_a_monitor_gives_the_same_weights_as_without():
    models = [nn.Sequential(net(), nn.Dropout(0.4)) for _ in range(2)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    zoo.train(models[0], FEW, epochs=2, batch_size=16)
    zoo.train(models[1], FEW, epochs=2, batch_size=16, monitor=watched(layers=None, unstable="measure"))
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_in_training_mode_is_measured_in_eval_mode_and_left_training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(0.9), nn.Linear(784, 3))
    monitor = watched(layers=None)
    model.train()
    monitor(model, 0)
    assert all(module.training for module in model.modules())
    assert int(model[1].num_batches_tracked) == 0
    model.eval()
    assert watched(layers=None)(model, 0) == monitor.history.plain_rows(0)


def test_overhead_is_measuring_over_training_and_leaves_out_what_happens_once(clock, monkeypatch):
    def slow(*arguments, **options):
        clock.now += 2.0
        return iv.measure(*arguments, **options)

    monkeypatch.setattr("invariscope.monitor.monitor.measure", slow)
    monitor, model = watched(every=2), net()
    assert math.isnan(monitor.overhead)
    for epoch in range(5):
        monitor(model, epoch)
        clock.now += 50.0
    # Epochs 2 and 4 were measured, for 2 s each, in the 200 s of four epochs.
    assert monitor.overhead == pytest.approx(4 / 200)
    np.testing.assert_array_equal(monitor.times["training_seconds"], [np.nan, 50, 50, 50, 50])
    np.testing.assert_array_equal(monitor.times["measuring_seconds"], [2, 0, 2, 0, 2])


def test_what_was_saved_is_read_back_whole(tmp_path):
    monitor, model = watched(by_class=True), net()
    for epoch in range(3):
        monitor(moved(model, 0.01), epoch)
    monitor.save(tmp_path / "run")
    found = load_history(tmp_path / "run")
    pd.testing.assert_frame_equal(found.table, monitor.table)
    pd.testing.assert_frame_equal(found.times, monitor.times)
    assert found.overhead == monitor.overhead
    assert list(found.results) == [0, 1, 2]
    for epoch, result in monitor.results.items():
        for key, array in result.maps.items():
            np.testing.assert_array_equal(found.results[epoch].maps[key], array)
    assert iv.load(tmp_path / "run/epoch-00002").provenance["training"] == {"name": "SimpleConv", "epoch": 2}
    with pytest.raises(KeyError, match=r"epoch 7 was not measured; measured epochs: \[0, 1, 2\]"):
        found.results[7]
    with pytest.raises(FileExistsError):
        monitor.save(tmp_path / "run")


def test_a_monitor_with_a_folder_goes_on_where_another_process_stopped(tmp_path):
    models = [moved(net(), 0.01 * epoch) for epoch in range(4)]
    whole = watched()
    for epoch, model in enumerate(models):
        whole(model, epoch)
    first = watched(folder=tmp_path / "run")
    for epoch in (0, 1):
        first(models[epoch], epoch)
    second = watched(folder=tmp_path / "run")
    assert list(second.results) == [0, 1]
    before = second.results[1].provenance["created"], (tmp_path / "run/monitor.json").read_text()
    second(models[1], 1)  # as a resumed training does: known, so nothing happens
    assert (second.results[1].provenance["created"], (tmp_path / "run/monitor.json").read_text()) == before
    for epoch in (2, 3):
        second(models[epoch], epoch)
    pd.testing.assert_frame_equal(second.table, whole.table)
    pd.testing.assert_frame_equal(load_history(tmp_path / "run").table, whole.table)
    assert math.isfinite(second.times["training_seconds"].iloc[2])


def test_an_epoch_cut_short_while_it_was_saved_is_measured_again(tmp_path, monkeypatch):
    monitor = watched(folder=tmp_path)
    monitor(net(), 0)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("invariscope.monitor.monitor.save_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            monitor(moved(net(), 0.01), 1)
    again = watched(folder=tmp_path)
    assert list(again.results) == [0]
    again(moved(net(), 0.02), 1)
    assert list(load_history(tmp_path).results) == [0, 1]


def test_going_back_forgets_what_came_after(tmp_path):
    for folder in (None, tmp_path):
        monitor = watched(folder=folder)
        for epoch in range(4):
            monitor(moved(net(), 0.01 * epoch), epoch)
        monitor.rewind(1)
        assert list(monitor.results) == [0, 1]
        assert monitor.times["epoch"].tolist() == [0, 1]
        monitor(moved(net(), 0.5), 2)
        assert monitor.table["epoch"].max() == 2
    assert list(load_history(tmp_path).results) == [0, 1, 2]


def test_writers_see_every_measurement_once():
    seen = []
    monitor, model = watched(every=2, writers=[lambda epoch, result: seen.append((epoch, result))]), net()
    for epoch in (0, 0, 1, 2):
        monitor(model, epoch)
    assert seen == list(monitor.results.items())


def test_small_data_are_taken_whole_and_a_stream_is_read_once():
    batches = iter([DIGITS.images[:48], DIGITS.images[48:]])
    with pytest.raises(ValueError, match="samples=256, but there are only 96"):
        Monitor(batches, iv.QuarterTurns())
    monitor = Monitor(iter([DIGITS.images[:48], DIGITS.images[48:]]), iv.QuarterTurns(), samples=64)
    for epoch in range(2):
        monitor(net(), epoch)
    assert set(monitor.table["samples"]) == {64}
    whole = Monitor(DIGITS, iv.QuarterTurns(), layers="fc2")
    whole(net(), 0)
    assert whole.table["samples"].tolist() == [96]


def test_results_of_several_epochs_make_a_report_with_layers_over_epochs(tmp_path):
    monitor = watched()
    for epoch in range(3):
        monitor(moved(net(), 0.02 * epoch), epoch)
    page = iv.report(list(monitor.results.values()), tmp_path / "report.html").read_text()
    assert "Layers over epochs" in page
    assert "SimpleConv, epoch 2" in page


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ValueError, r"every must be an integer, at least 1; got 0"),
        ({"every": 1.5}, ValueError, r"every must be an integer, at least 1; got 1\.5"),
        ({"every": True}, ValueError, r"every must be .* got True"),
        ({"measures": "normalised_variance"}, ValueError, r"Closest: 'normalized_variance'"),
        ({"samples": 1000}, ValueError, r"samples=1000, but there are only 96"),
        ({"presicion": "bf16"}, TypeError, r"unknown option 'presicion'. Closest: 'precision'"),
        ({"progress": True}, TypeError, r"unknown option 'progress'"),
        ({"precision": "bf61"}, ValueError, r"Closest: 'bf16'"),
    ],
)
def test_unusable_options_are_refused_before_training(options, error, message):
    with pytest.raises(error, match=message):
        watched(**options)


class Returning(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.linear, self.output = nn.Linear(784, 3), output

    def forward(self, x):
        return self.output(self.linear(x.flatten(1)))


torch.manual_seed(0)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (net(), {"layers": "cnov1"}, r"measuring after epoch 4 failed: .*cnov1.*'conv1'"),
        (
            nn.Sequential(nn.Flatten(), moved(nn.Linear(784, 3), math.nan)),
            {"layers": None},
            r"measuring after epoch 4 failed: .*NaN",
        ),
        (
            Returning(lambda y: y[0]),
            {"layers": None, "measures": "prediction"},
            r"measuring after epoch 4 failed: ",
        ),
        (
            Returning(lambda y: y.mean(1)),
            {"layers": None, "measures": "prediction"},
            r"measuring after epoch 4 failed: ",
        ),
        ("SimpleConv", {"layers": None}, r"measuring after epoch 4 failed: cannot load a model"),
    ],
    ids=["layer", "nan", "one sample", "no classes", "no model"],
)
def test_a_model_that_cannot_be_measured_is_refused_with_the_epoch(model, options, message):
    monitor = watched(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        monitor(model, 4)
    assert len(monitor.table) == 0


def test_epochs_that_do_not_fit_are_refused():
    monitor = watched(every=2)
    monitor(net(), 2)
    with pytest.raises(ValueError, match=r"epoch 1 was given after epoch 2.*monitor\.rewind\(1\)"):
        monitor(net(), 1)
    with pytest.raises(
        ValueError, match=r"epoch 2 was already measured with other weights.*a new Monitor with a new folder"
    ):
        monitor(net(1), 2)
    with pytest.raises(ValueError, match=r"epoch must be an integer, at least 0; got -1"):
        monitor(net(), -1)
    assert monitor.times["epoch"].tolist() == [2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"samples": 40}, "probe set"),
        ({"seed": 9}, "probe set, seed"),
        ({"measures": "sample_variance"}, "measures"),
        ({"layers": "conv*"}, "layers"),
        ({"by_class": True}, "by_class"),
        ({"units": 8}, "units"),
        ({"preprocess": torch.abs}, "preprocess"),
        ({"call": lambda model, x: model(x)}, "call"),
    ],
)
def test_a_folder_with_measurements_of_another_kind_is_refused(tmp_path, change, named):
    watched(folder=tmp_path)(net(), 0)
    with pytest.raises(ValueError, match=f"with different settings: {named}\\."):
        watched(folder=tmp_path, **change)


def test_elements_with_the_same_labels_and_other_functions_are_refused(tmp_path):
    flips = [iv.Elements([torch.abs, lambda x, axis=axis: x.flip(axis)]) for axis in (2, 2, 3)]
    monitors = [partial(Monitor, DIGITS, one, samples=72, layers="fc2", folder=tmp_path) for one in flips]
    monitors[0]()(net(), 0)
    assert len(monitors[1]().table) > 0
    with pytest.raises(ValueError, match=r"with different settings: transform\."):
        monitors[2]()


def test_a_folder_of_an_earlier_version_lacks_some_settings(tmp_path):
    watched(folder=tmp_path)(net(), 0)
    index = json.loads((tmp_path / "monitor.json").read_text())
    for name in ("units", "floor", "preprocess", "call", "pool"):
        del index["settings"][name]
    del index["sha256"]
    index["schema"] = 1
    (tmp_path / "monitor.json").write_text(json.dumps(index))
    assert len(watched(folder=tmp_path).table) > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "not the index of a monitor"),
        ('{"schema": 99}', "schema 99, but this version reads up to 2"),
        ('{"schema": 1, "settings": {}, "times": [], "epochs": ["../elsewhere"]}', "malformed"),
        ('{"schema": 1, "settings": {}, "times": [{"epoch": 1}], "epochs": []}', "malformed"),
    ],
)
def test_a_damaged_or_forged_index_is_refused(tmp_path, text, message):
    (tmp_path / "monitor.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_history(tmp_path)


def test_a_folder_without_an_index_or_without_a_result_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no monitor\.json"):
        load_history(tmp_path)
    watched(folder=tmp_path)(net(), 0)
    (tmp_path / "epoch-00000/result.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no result\.json"):
        load_history(tmp_path / "monitor.json")


def test_a_file_in_place_of_the_folder_is_refused_before_training(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "taken").write_text("something else")
    with pytest.raises(ValueError, match="cannot save measurements in"):
        iv.Monitor(torch.rand(16, 1, 9, 9), iv.QuarterTurns(), folder=tmp_path / "taken")
