"""The checkpoint file of a training under way: what it has to agree with, and when it is written."""

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
    """A training's checkpoint file, written after each epoch and once a minute within an epoch.

    Args:
        path: of the file; None: nothing is kept.
        model, optimizer: what is kept. The model still has the weights that training starts from.
        data: what it learns from.
        settings: what the checkpoint has to agree with, beside data and starting weights.
        epochs: how many are asked for.
        history, measured: the records so far, empty at first; the training goes on adding to these lists.
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
        """Whether the training resumes in the middle of an epoch."""
        return bool(self._found.place)

    def restore(self, average: WeightAverage | None) -> None:
        """Put everything back as it was, if there is a checkpoint.

        Args:
            average: of the weights, kept too from now on.
        Raises:
            ValueError: it is damaged, of another training, or further along than asked for.
        """
        self._average = average
        if self._path is None or not self._path.exists():
            return
        found = restore_checkpoint(self._path, self._model, self._optimizer, self._marks)
        if len(found.history) + bool(found.place) > self._epochs:
            raise ValueError(
                f"{self._path} is {len(found.history)} epochs along, only {self._epochs} were asked for: ask "
                "for as many or more, or give another path."
            )
        if average is not None:
            average.restore(found.named("average"))
        self.history[:], self.measured[:] = found.history, found.measured
        self._found = found

    def find(self, epoch: int) -> tuple[EpochPosition, Mapping[str, Tensor]] | None:
        """Return the place in that epoch and the generators' states; None: its beginning."""
        place = self._found.place
        return (
            (EpochPosition(**place), self._found.named("generator")) if place.get("epoch") == epoch else None
        )

    def keep(
        self, place: EpochPosition, generators: Callable[[], Mapping[str, Tensor]], *, now: bool = False
    ) -> None:
        """Write the file within an epoch, if it was last written a minute ago or is to be written `now`."""
        if self._path is not None and (now or time.monotonic() - self._written >= SAVE_EVERY_S):
            self.write(asdict(place), {f"generator.{name}": t for name, t in generators().items()})

    def write(self, place: dict[str, Any] | None = None, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Replace the file by the present state."""
        if self._path is None:
            return
        average = {} if self._average is None else self._average.values
        kept = {**(tensors or {}), **{f"average.{name}": value for name, value in average.items()}}
        snapshot = TrainingState(self.history, self.measured, place or {}, kept)
        save_checkpoint(self._path, self._model, self._optimizer, self._marks, snapshot)
        self._written = time.monotonic()


def _marks(model: nn.Module, data: ImageData, settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return what two trainings have in common if one continues the other."""
    # If the learning rate changes, its path depends on where it is to end.
    fixed = {} if settings["schedule"] == "constant" else {"epochs": epochs}
    # The settings only name the data and the starting weights: these are their very values.
    return {
        **settings,
        **fixed,
        "images and labels": _digest([data.images, data.labels]),
        "starting weights": _digest(list(model.state_dict().values())),
    }


def _digest(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
