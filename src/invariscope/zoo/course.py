"""What every training has in common: its options, the walk over the epochs, checkpoints, the record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.zoo.checkpoint import restore_checkpoint, save_checkpoint
from invariscope.zoo.epochs import Loop, Progress, device_of, evaluate
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.lessons import Lesson
from invariscope.zoo.optimizers import make_optimizer
from invariscope.zoo.train_settings import TrainSettings
from invariscope.zoo.trainable import only_these

Monitor = Callable[[nn.Module, int], Sequence[dict[str, Any]] | None]


@dataclass(frozen=True)
class Training:
    """What a training did, for the card of its weights and for plots.

    Args:
        history: a dict an epoch: epoch, loss, accuracy (over the epoch's own, augmented batches), seconds,
            test_accuracy (None without test data).
        settings: epochs, batch_size, lr, seed, precision, augmentation and data.
        measured: the records that the monitor gave, in the order of the epochs; empty without one.
    """

    history: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    measured: tuple[dict[str, Any], ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of right predictions over the last epoch's batches, while the weights were changing."""
        return self.history[-1]["accuracy"]

    @property
    def test_accuracy(self) -> float | None:
        """Share of right predictions on the test data after the last epoch; None without test data."""
        return self.history[-1]["test_accuracy"]

    @property
    def seconds(self) -> float:
        """Time of all epochs together, tests left out."""
        return sum(record["seconds"] for record in self.history)

    def describe(self) -> dict[str, Any]:
        """Settings, results and history in plain values that JSON can hold."""
        results = {"accuracy": self.accuracy, "test_accuracy": self.test_accuracy, "seconds": self.seconds}
        kept = {"history": self.history, "measured": self.measured}
        return {**self.settings, **results, **{name: list(map(dict, rows)) for name, rows in kept.items()}}


@dataclass(frozen=True, kw_only=True)
class Course:
    """A training that can be interrupted and watched, whatever is learned.

    Args:
        settings: how it runs.
        checkpoint, progress: as in `train`.
    """

    settings: TrainSettings
    checkpoint: str | Path | None = None
    progress: Callable[[Progress], None] | None = None

    def __call__(
        self,
        model: nn.Module,
        data: ImageData,
        lesson: Lesson,
        *,
        chosen: frozenset[str],
        described: dict[str, Any],
        test: ImageData | None = None,
        monitor: Monitor | None = None,
    ) -> Training:
        """Trains those of the model's parameters that are chosen; leaves it in eval mode.

        Args:
            model, data: what learns, and from what.
            lesson: the loss of a batch.
            chosen: names of parameters.
            described: the lesson in plain values, for the record and the checkpoint.
            test, monitor: as in `train`.
        """
        epochs = self.settings.epochs
        settings = {**self.settings.describe(), **described, "data": data.describe()}
        adjusted = [p for name, p in model.named_parameters() if name in chosen and p.requires_grad]
        optimizer = make_optimizer(self.settings, adjusted)
        place = self.checkpoint
        saved = None if place is None else _Saved(Path(place), model, data, optimizer, settings, epochs)
        history, kept = ([], []) if saved is None else saved.restore()
        watch, loop = _Watch(monitor, model, kept), self._loop(model, data, lesson)
        with _memory_format(model, self.settings.channels_last), only_these(model, chosen):
            watch(len(history))
            for epoch in range(len(history), epochs):
                record = loop.run(epoch, optimizer)
                record["test_accuracy"] = None if test is None else evaluate(model, test)
                history.append(record)
                if saved is not None:
                    saved.write(history, watch.records)
                watch(epoch + 1)
        model.eval()
        return Training(tuple(history), {"epochs": epochs, **settings}, tuple(watch.records))

    def _loop(self, model: nn.Module, data: ImageData, lesson: Lesson) -> Loop:
        device = device_of(model)
        images, labels = data.images.to(device), data.labels.to(device)
        return Loop(model, images, labels, lesson, self.settings, self.progress)


@dataclass(frozen=True, eq=False)
class _Watch:
    """A monitor, if there is one, and the records that it gave so far."""

    monitor: Monitor | None
    model: nn.Module
    records: list[dict[str, Any]]

    def __call__(self, epoch: int) -> None:
        """Measures after so many epochs; what is known of this epoch is replaced."""
        if self.monitor is not None and (found := self.monitor(self.model, epoch)):
            self.records[:] = [r for r in self.records if r["epoch"] != epoch] + list(map(dict, found))


class _Saved:
    """A training's checkpoint file, and what it has to agree with."""

    def __init__(
        self,
        path: Path,
        model: nn.Module,
        data: ImageData,
        optimizer: torch.optim.Optimizer,
        settings: dict[str, Any],
        epochs: int,
    ) -> None:
        self._epochs = epochs
        self._path, self._model, self._optimizer = path, model, optimizer
        # The settings only name the data and the starting weights: these are their very values. If the
        # learning rate changes, its path depends on where it is to end.
        fixed = {} if settings["schedule"] == "constant" else {"epochs": epochs}
        self._marks = (
            settings
            | fixed
            | {
                "images and labels": _digest([data.images, data.labels]),
                "starting weights": _digest(list(model.state_dict().values())),
            }
        )

    def restore(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """History and what the monitor measured, both empty where there is no checkpoint."""
        if not self._path.exists():
            return [], []
        history, measured = restore_checkpoint(self._path, self._model, self._optimizer, self._marks)
        if len(history) > self._epochs:
            raise ValueError(
                f"{self._path} is {len(history)} epochs along, only {self._epochs} were asked for: ask for "
                "as many or more, or give another path."
            )
        return history, measured

    def write(self, history: list[dict[str, Any]], measured: list[dict[str, Any]]) -> None:
        save_checkpoint(self._path, self._model, self._optimizer, self._marks, history, measured)


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


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
    """The weights of two-dimensional convolutions in that format; others have no such one."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
