"""A real Lightning training, with the callback in it."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv
from invariscope import zoo
from invariscope.loggers import scalars
from invariscope.monitor import Monitor, lightning_callback, load_history

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its own dependencies deprecate is not ours to fix
    import pytorch_lightning as lightning
    from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

# Lightning's advice on workers, devices and missing loggers.
pytestmark = pytest.mark.filterwarnings("ignore")

DIGITS = zoo.load("mnist_subset", samples=72)
FEW = zoo.load("mnist_subset", split="train", samples=64)


class Classifier(lightning.LightningModule):
    """A small network with dropout, as a person would write it for Lightning."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1352, 10)
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Kept(lightning.loggers.Logger):
    """A logger that remembers."""

    name, version = "kept", 0

    def __init__(self):
        super().__init__()
        self.seen = []

    def log_hyperparams(self, *_, **__):
        pass

    def log_metrics(self, metrics, step=None):
        self.seen.append((step, dict(metrics)))


def classifier() -> Classifier:
    lightning.seed_everything(3, verbose=False)
    return Classifier()


def run(model, callbacks, *, epochs=3, folder=None, logger=False, resume=None):
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=callbacks, accelerator="cpu", devices=1, logger=logger,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder,
    )  # fmt: skip
    data = DataLoader(TensorDataset(FEW.images, FEW.labels), batch_size=16)
    trainer.fit(model, data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def watched(**options) -> Monitor:
    return Monitor(DIGITS, iv.Rotation.circle(4), **options)


def test_epochs_are_counted_from_the_untrained_network_to_the_last(tmp_path):
    monitor, model = watched(every=2), classifier()
    untrained = iv.measure(classifier(), DIGITS, iv.Rotation.circle(4), progress=False)
    run(model, [lightning_callback(monitor)], epochs=4, folder=tmp_path)
    trained = iv.measure(model, DIGITS, iv.Rotation.circle(4), progress=False)
    assert list(monitor.results) == [0, 2, 4]
    pd.testing.assert_frame_equal(monitor.results[0].table, untrained.table)
    pd.testing.assert_frame_equal(monitor.results[4].table, trained.table)
    assert 0 < monitor.overhead < np.inf
    assert len(monitor.times) == 5


def test_the_training_goes_as_it_would_without_the_callback(tmp_path):
    models = [classifier(), None]
    run(models[0], [], folder=tmp_path)
    models[1] = classifier()
    run(models[1], [lightning_callback(watched())], folder=tmp_path)
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)


def test_the_inner_network_can_be_measured_instead_of_the_module(tmp_path):
    monitor = watched(layers="0")
    run(classifier(), [lightning_callback(monitor, model=lambda m: m.net)], epochs=1, folder=tmp_path)
    assert monitor.table["layer"].tolist() == ["0", "0"]


@pytest.mark.parametrize("log", [True, False])
def test_loggers_get_the_tables_values_at_the_step_of_the_measurement(log, tmp_path):
    monitor, logger = watched(layers="net.4"), Kept()
    run(classifier(), [lightning_callback(monitor, log=log)], epochs=2, folder=tmp_path, logger=logger)
    seen = [(step, metrics) for step, metrics in logger.seen if "normalized_variance/net.4" in metrics]
    assert [step for step, _ in seen] == ([0, 4, 8] if log else [])
    values = [metrics["normalized_variance/net.4"] for _, metrics in seen]
    assert values == (monitor.table["value"].tolist() if log else [])


def test_chosen_numbers_are_read_back_from_the_loggers_of_lightning(tmp_path):
    monitor = watched(layers="net.4", measures=["normalized_variance", "prediction"])
    loggers = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "events")]
    chosen = ["normalized_variance*/net.4", "curve/prediction.accuracy/*"]
    run(classifier(), [lightning_callback(monitor, log=chosen)], epochs=2, folder=tmp_path, logger=loggers)
    wanted = {
        (name, 4 * epoch): value
        for epoch, result in monitor.results.items()
        for name, value in scalars(result)
        if name.startswith(("normalized_variance", "curve/prediction.accuracy/"))
    }
    assert len(wanted) > 3 * 8
    csv = pd.read_csv(tmp_path / "csv/lightning_logs/version_0/metrics.csv", float_precision="round_trip")
    columns = [name for name in csv if "/" in name]
    assert wanted == {
        (name, int(row["step"])): row[name]
        for row in csv.to_dict("records")
        for name in columns
        if row[name] == row[name]
    }
    events = EventAccumulator(loggers[1].log_dir, size_guidance={"scalars": 0}).Reload()
    found = {(t, e.step): e.value for t in events.Tags()["scalars"] if "/" in t for e in events.Scalars(t)}
    assert found == {key: float(np.float32(value)) for key, value in wanted.items()}


def test_a_pattern_that_chooses_nothing_is_an_error_that_names_the_closest(tmp_path):
    callback = lightning_callback(watched(layers="net.4"), log=["normalised_variance/net.4"])
    with pytest.raises(ValueError, match=r"matches 'normalised.*Closest: 'normalized_variance/net\.4'"):
        run(classifier(), [callback], epochs=1, folder=tmp_path, logger=Kept())


def test_a_resumed_training_goes_on_with_the_curves_of_its_folder(tmp_path):
    whole = watched()
    run(classifier(), [lightning_callback(whole)], epochs=4, folder=tmp_path)
    trainer = run(
        classifier(), [lightning_callback(watched(folder=tmp_path / "m"))], epochs=2, folder=tmp_path
    )
    trainer.save_checkpoint(tmp_path / "at.ckpt", weights_only=False)
    # A run that was lost has got further; what it measured after the checkpoint is measured anew.
    lost = watched(folder=tmp_path / "m")
    lost(Classifier(), 3)
    resumed = watched(folder=tmp_path / "m")
    assert list(resumed.results) == [0, 1, 2, 3]
    run(Classifier(), [lightning_callback(resumed)], epochs=4, folder=tmp_path, resume=tmp_path / "at.ckpt")
    assert list(resumed.results) == [0, 1, 2, 3, 4]
    early = ["epoch", "measure", "layer", "value"]
    pd.testing.assert_frame_equal(
        resumed.table.query("epoch <= 2")[early], whole.table.query("epoch <= 2")[early]
    )


def test_another_training_is_refused_before_the_curves_of_the_first_are_forgotten(tmp_path):
    monitor = watched(folder=tmp_path / "m")
    run(classifier(), [lightning_callback(monitor)], epochs=2, folder=tmp_path)
    lightning.seed_everything(4, verbose=False)
    with pytest.raises(ValueError, match="epoch 0 was already measured with other weights"):
        run(Classifier(), [lightning_callback(monitor)], epochs=2, folder=tmp_path)
    assert list(load_history(tmp_path / "m").results) == [0, 1, 2]


def test_the_callback_is_one_of_the_lightning_that_the_program_uses(monkeypatch):
    assert isinstance(lightning_callback(watched()), lightning.Callback)

    class Other:
        class Callback:
            pass

    monkeypatch.setitem(sys.modules, "lightning.pytorch", Other)
    monkeypatch.setitem(sys.modules, "lightning", Other)
    assert isinstance(lightning_callback(watched()), Other.Callback)


def test_without_lightning_the_error_names_the_extra(monkeypatch):
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[lightning\]'"):
        lightning_callback(watched())
