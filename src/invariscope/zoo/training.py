"""Training a classifier, with augmentation by any transform: seeded, repeatable, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from invariscope.registry import unknown
from invariscope.zoo.checkpoint import restore_checkpoint, save_checkpoint
from invariscope.zoo.epochs import Loop, Pace, Progress, device_of, evaluate
from invariscope.zoo.image_data import ImageData, as_image_data
from invariscope.zoo.trainable import only_these, trainable_names

if TYPE_CHECKING:
    from invariscope.transforms import Transform

PRECISIONS = ("float32", "bf16")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Quick:
    """Options under which SimpleConv learns the 8,000 bundled digits within a minute of one core.

    Over three seeds, accuracy on test digits: .966 to .974 upright after 3 epochs (12 s of one core), and
    .915 to .937 rotated after 10 epochs of rotated digits (41 s). Without batch normalisation a
    higher rate can leave all units dead.
    """

    filters: int = 16
    batch_size: int = 64
    lr: float = 2e-3
    schedule: str = "cosine"
    plain_epochs: int = 3
    rotated_epochs: int = 10


QUICK = Quick()


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


def train(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    *,
    epochs: int,
    augmentation: Transform | None = None,
    batch_size: int = 256,
    lr: float = 1e-3,
    schedule: str = "constant",
    seed: int = 0,
    precision: str = "float32",
    channels_last: bool = False,
    trainable: str | None = None,
    test: ImageData | tuple[Any, Any] | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    monitor: Callable[[nn.Module, int], Sequence[dict[str, Any]] | None] | None = None,
) -> Training:
    """Minimises the negative log likelihood with Adam; the model is changed in place and left in eval mode.

    Order, augmentation and dropout are drawn from (seed, epoch): the same seed gives the same weights, bit
    for bit, on the same machine with the same number of threads, also across a resume. The global
    generators are left as they were.

    Args:
        model: maps (sample, ...) to log-probabilities or logits (sample, class), on any one device.
        data: training images and labels.
        epochs: passes over the data, counting those of a resumed training.
        augmentation: each image of each batch is moved by an element drawn at random; None: never.
        batch_size: the last batch of an epoch may be smaller.
        lr: learning rate.
        schedule: "constant", or "cosine": from lr down to 0 over all epochs, by a half cosine.
        seed: of everything random.
        precision: "float32", or "bf16": forward and backward in bfloat16; weights and optimizer stay in
            float32.
        channels_last: train in that memory format, which is faster for wide convolutions.
        trainable: which parameters change: "head", the last linear layer alone, or a glob on their names
            ("features.0.*"); None: all. Running statistics of normalisation layers, which are no
            parameters, follow the data all the same.
        test: measured after each epoch, never trained on, never augmented.
        checkpoint: a file, replaced after each epoch; if it exists, the training goes on from there.
        progress: called after each batch.
        monitor: called with the model and the number of epochs done, before the first and after each. The
            records that it returns, of plain values with an "epoch", are kept: `iv.Monitor` is one. It must
            leave the model as it is. A resumed training calls it for the last epoch done once more.
    Raises:
        ValueError: unusable data or options, a loss that is no longer finite, a checkpoint of another
            training.

    Source:
        Kingma and Ba 2015, arXiv:1412.6980 (Adam).
    """
    _check_options(epochs, batch_size, lr, precision, schedule)
    chosen = trainable_names(model, trainable)
    data, held_out = as_image_data(data), None if test is None else as_image_data(test)
    settings = {
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "seed": seed,
        "precision": precision,
        "channels_last": channels_last,
        "augmentation": None if augmentation is None else augmentation.describe(),
        "data": data.describe(),
    }
    if trainable is not None:
        settings["trainable"] = trainable
    adjusted = [p for name, p in model.named_parameters() if name in chosen and p.requires_grad]
    optimizer = torch.optim.Adam(adjusted, lr=lr)
    saved = None if checkpoint is None else _Saved(Path(checkpoint), model, data, optimizer, settings, epochs)
    history, kept = ([], []) if saved is None else saved.restore()
    watch = _Watch(monitor, model, kept)
    device = device_of(model)
    images, labels = data.images.to(device), data.labels.to(device)
    pace = Pace(epochs, batch_size, lr, falling=schedule == "cosine")
    loop = Loop(model, images, labels, augmentation, pace, seed, precision, channels_last, progress)
    with _memory_format(model, channels_last), only_these(model, chosen):
        watch(len(history))
        for epoch in range(len(history), epochs):
            record = loop.run(epoch, optimizer)
            record["test_accuracy"] = None if held_out is None else evaluate(model, held_out)
            history.append(record)
            if saved is not None:
                saved.write(history, watch.records)
            watch(epoch + 1)
    model.eval()
    return Training(tuple(history), {"epochs": epochs, **settings}, tuple(watch.records))


@dataclass(frozen=True, eq=False)
class _Watch:
    """A monitor, if there is one, and the records that it gave so far."""

    monitor: Callable[[nn.Module, int], Sequence[dict[str, Any]] | None] | None
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
        # The settings only name the data and the starting weights: these are their very values. Where the
        # learning rate falls, its path depends on where it is to end.
        fixed = {"epochs": epochs} if settings["schedule"] == "cosine" else {}
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


def _check_options(epochs: int, batch_size: int, lr: float, precision: str, schedule: str) -> None:
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if schedule not in SCHEDULES:
        raise unknown("schedule", schedule, SCHEDULES)
    if epochs < 1 or batch_size < 1 or not lr > 0:
        raise ValueError(
            f"epochs and batch_size are at least 1 and lr is positive; got epochs={epochs}, "
            f"batch_size={batch_size}, lr={lr}."
        )


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
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
