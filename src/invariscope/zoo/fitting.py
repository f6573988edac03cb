"""Code shared by all training runs: the loop over epochs, checkpoints, and the training record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.zoo.averaging import WeightAverage
from invariscope.zoo.bookmark import SavedTraining
from invariscope.zoo.epochs import Loop, Progress, device_of, evaluate
from invariscope.zoo.flip_and_crop import FlipAndCrop
from invariscope.zoo.image_data import ImageData, as_image_data
from invariscope.zoo.objectives import Objective
from invariscope.zoo.optimizers import make_optimizer
from invariscope.zoo.precision import chosen_precision
from invariscope.zoo.train_config import TrainConfig
from invariscope.zoo.trainable import only_these
from invariscope.zoo.whitening import fit_layers

Monitor = Callable[[nn.Module, int], Sequence[dict[str, Any]] | None]


@dataclass(frozen=True)
class Training:
    """The record of a training run, for the card of its weights and for plots.

    Args:
        history: a dict per epoch: epoch, loss, accuracy (over the epoch's own, augmented batches), seconds,
            test_accuracy (None without test data).
        settings: epochs, batch_size, lr, seed, precision, augmentation and data.
        measured: the records of the monitor, in the order of the epochs; empty without a monitor.
    """

    history: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    measured: tuple[dict[str, Any], ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of correct predictions on the batches of the last epoch, while the weights were changing."""
        return self.history[-1]["accuracy"]

    @property
    def test_accuracy(self) -> float | None:
        """Share of correct predictions on the test data after the last epoch; None without test data."""
        return self.history[-1]["test_accuracy"]

    @property
    def seconds(self) -> float:
        """Duration of all epochs in seconds, without tests."""
        return sum(record["seconds"] for record in self.history)

    def describe(self) -> dict[str, Any]:
        """Return settings, results and history as JSON-compatible values."""
        results = {"accuracy": self.accuracy, "test_accuracy": self.test_accuracy, "seconds": self.seconds}
        kept = {"history": self.history, "measured": self.measured}
        return {**self.settings, **results, **{name: list(map(dict, rows)) for name, rows in kept.items()}}


def fit(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    objective: Objective,
    config: TrainConfig,
    *,
    chosen: frozenset[str],
    described: dict[str, Any],
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    test: ImageData | None = None,
    monitor: Monitor | None = None,
) -> Training:
    """Train the chosen parameters of the model with any objective; leave the model in eval mode.

    Args:
        model, data: the model and its training data.
        objective: the loss of a batch.
        config: training settings.
        chosen: names of the parameters to train.
        described: description of the objective in plain values, for the record and the checkpoint.
        checkpoint, progress, test, monitor: as in `train`.
    """
    data, path = as_image_data(data), None if checkpoint is None else Path(checkpoint)
    config = _decided(config, model, data.images, path)
    views = FlipAndCrop(config.seed, config.flip, config.crop_px)
    views.check(data.images)
    record = {**config.describe(), **described, "data": data.describe()}
    adjusted = [p for name, p in model.named_parameters() if name in chosen and p.requires_grad]
    optimizer = make_optimizer(config, adjusted)
    with _memory_format(model, config.channels_last), only_these(model, chosen):
        # Must come before layers are fitted, because a checkpoint is compared with the original weights.
        saved = SavedTraining(path, model, optimizer, data, record, config.epochs)
        fit_layers(model, data.images)
        average = WeightAverage(model, config.ema) if config.ema else None
        saved.restore(average)
        device = device_of(model)
        images, labels = data.images.to(device), data.labels.to(device)
        loop = Loop(model, images, labels, objective, config, views, average, saved, progress)
        _walk(loop, optimizer, saved, _Monitoring(monitor, model, average, saved.measured), test)
        if average is not None:
            average.put_in()
    model.eval()
    return Training(tuple(saved.history), {"epochs": config.epochs, **record}, tuple(saved.measured))


def _decided(config: TrainConfig, model: nn.Module, images: Tensor, checkpoint: Path | None) -> TrainConfig:
    """Return the training settings, with precision "auto" replaced by the chosen one."""
    if config.precision != "auto":
        return config
    last = config.channels_last
    with _memory_format(model, last):
        precision = chosen_precision(model, images, channels_last=last, checkpoint=checkpoint)
    return replace(config, precision=precision)


def _walk(
    loop: Loop,
    optimizer: torch.optim.Optimizer,
    saved: SavedTraining,
    watch: _Monitoring,
    test: ImageData | None,
) -> None:
    """Train the remaining epochs; test, save and monitor after each."""
    if not saved.within_an_epoch:
        watch(len(saved.history))
    for epoch in range(len(saved.history), loop.settings.epochs):
        record = loop.run(epoch, optimizer)
        with _averaged(loop.average):
            record["test_accuracy"] = None if test is None else evaluate(loop.model, test)
        saved.history.append(record)
        saved.write()
        watch(epoch + 1)


@dataclass(frozen=True, eq=False)
class _Monitoring:
    """A monitor, if there is one, and its records so far.

    It measures the averaged weights if the training run averages weights.
    """

    monitor: Monitor | None
    model: nn.Module
    average: WeightAverage | None
    records: list[dict[str, Any]]

    def __call__(self, epoch: int) -> None:
        """Measure after the given number of epochs, replacing earlier records of this epoch."""
        if self.monitor is None:
            return
        with _averaged(self.average):
            found = self.monitor(self.model, epoch)
        if found:
            self.records[:] = [r for r in self.records if r["epoch"] != epoch] + list(map(dict, found))


def _averaged(average: WeightAverage | None) -> AbstractContextManager[None]:
    return nullcontext() if average is None else average.swapped_in()


@contextmanager
def _memory_format(model: nn.Module, channels_last: bool) -> Iterator[None]:
    if not channels_last:
        yield
        return
    try:
        _lay_out(model, torch.channels_last)
        yield
    finally:
        _lay_out(model, torch.contiguous_format)


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Convert the weights of two-dimensional convolutions to the memory format."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
