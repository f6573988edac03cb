"""The checkpoint file of a training run: when it is written, and when the run can be resumed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.zoo.averaging import WeightAverage
from invariscope.zoo.checkpoint import TrainingState, restore_checkpoint, save_checkpoint
from invariscope.zoo.epochs import EpochPosition
from invariscope.zoo.image_data import ImageData

SAVE_EVERY_S = 60.0


class SavedTraining:
    """The checkpoint file of a training run, written after each epoch and every minute within an epoch.

    Args:
        path: the file; None: nothing is saved.
        model, optimizer: the objects to save. The model must still have its starting weights.
        data: the training data.
        settings: settings that a checkpoint must match, in addition to data and starting weights.
        epochs: total number of epochs.
        history, measured: the records so far, initially empty; the training run appends to these lists.
    """

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: ImageData,
        settings: Mapping[str, Any],
        epochs: int,
    ) -> None:
        self.history: list[dict[str, Any]] = []
        self.measured: list[dict[str, Any]] = []
        self._path, self._model, self._optimizer = path, model, optimizer
        self._epochs, self._found = epochs, TrainingState()
        self._average: WeightAverage | None = None
        self._marks = {} if path is None else _marks(model, data, settings, epochs)
        self._written = time.monotonic()

    @property
    def within_an_epoch(self) -> bool:
        """Whether the training run resumes within an epoch."""
        return bool(self._found.place)

    def restore(self, average: WeightAverage | None) -> None:
        """Restore model, optimizer and records from the checkpoint, if it exists.

        Args:
            average: moving average of the weights, which is restored too, and saved from now on.
        Raises:
            ValueError: the checkpoint is damaged, belongs to another training run, or has more epochs than
                requested.
        """
        self._average = average
        if self._path is None or not self._path.exists():
            return
        found = restore_checkpoint(self._path, self._model, self._optimizer, self._marks)
        if len(found.history) + bool(found.place) > self._epochs:
            raise ValueError(
                f"{self._path} has {len(found.history)} completed epochs, but epochs={self._epochs}: "
                "increase epochs, or give another path."
            )
        if average is not None:
            average.restore(found.named("average"))
        self.history[:], self.measured[:] = found.history, found.measured
        self._found = found

    def find(self, epoch: int) -> tuple[EpochPosition, Mapping[str, Tensor]] | None:
        """Return the position in the epoch and the generator states; None to start at its beginning."""
        place = self._found.place
        return (
            (EpochPosition(**place), self._found.named("generator")) if place.get("epoch") == epoch else None
        )

    def keep(
        self, place: EpochPosition, generators: Callable[[], Mapping[str, Tensor]], *, now: bool = False
    ) -> None:
        """Write the file within an epoch if the last write was at least a minute ago, or if `now` is set."""
        if self._path is not None and (now or time.monotonic() - self._written >= SAVE_EVERY_S):
            self.write(asdict(place), {f"generator.{name}": t for name, t in generators().items()})

    def write(self, place: dict[str, Any] | None = None, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Replace the checkpoint file by one with the current state."""
        if self._path is None:
            return
        average = {} if self._average is None else self._average.values
        kept = {**(tensors or {}), **{f"average.{name}": value for name, value in average.items()}}
        snapshot = TrainingState(self.history, self.measured, place or {}, kept)
        save_checkpoint(self._path, self._model, self._optimizer, self._marks, snapshot)
        self._written = time.monotonic()


def _marks(model: nn.Module, data: ImageData, settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return the values that must agree for one training run to continue another."""
    from invariscope.readers.fingerprint import identify  # takes long to import

    # Schedules other than a constant rate depend on the number of epochs.
    fixed = {} if settings["schedule"] == "constant" else {"epochs": epochs}
    # The settings only name the data and the starting weights; digests identify their values.
    return {
        **settings,
        **fixed,
        "images and labels": _digest([data.images, data.labels]),
        "starting weights": _digest(list(model.state_dict().values())),
        "network": identify(model, "network", by_name=("invariscope",)).digest[:16],
        "shape": [str(data.images.dtype), *data.images.shape],
    }


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
