"""A pass over the training data, and the accuracy of a classifier."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.zoo.averaging import WeightAverage
from invariscope.zoo.flip_and_crop import FlipAndCrop
from invariscope.zoo.image_data import ImageData, as_image_data
from invariscope.zoo.objectives import Objective
from invariscope.zoo.schedules import learning_rate
from invariscope.zoo.train_config import TrainConfig

if TYPE_CHECKING:
    from invariscope.transforms import Transform


@dataclass(frozen=True)
class Progress:
    """Position of a training run after each batch; epochs and batches count from 1."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float

    @property
    def fraction(self) -> float:
        """Completed share of the training steps, 0 to 1."""
        return (self.epoch - 1 + self.batch / self.batches) / self.epochs


@dataclass
class EpochPosition:
    """Position within an epoch, and the sums over its batches so far.

    Args:
        epoch: counted from 0.
        batches: number of completed batches.
        loss_sum, right: summed loss and number of correct predictions over the images of these batches.
        seconds: time of these batches.
    """

    epoch: int
    batches: int = 0
    loss_sum: float = 0.0
    right: int = 0
    seconds: float = 0.0

    def record(self, samples: int) -> dict[str, Any]:
        """Return the history entry of the finished epoch."""
        return {
            "epoch": self.epoch + 1,
            "loss": self.loss_sum / samples,
            "accuracy": self.right / samples,
            "seconds": self.seconds,
        }


class Bookmark(Protocol):
    """Stores a position within an epoch, so that an interrupted run can resume there."""

    def find(self, epoch: int) -> tuple[EpochPosition, Mapping[str, Tensor]] | None:
        """Return the position in the epoch and the generator states; None to start at its beginning."""
        ...

    def keep(
        self, place: EpochPosition, generators: Callable[[], Mapping[str, Tensor]], *, now: bool = False
    ) -> None:
        """Store the position after a batch, if a save is due or `now` is set."""
        ...


@dataclass(frozen=True, eq=False)
class Loop:
    """The training loop over the batches of an epoch.

    Args:
        model: the model to train.
        images, labels: all training data, on the model's device.
        objective: the loss of a batch.
        settings: training settings. All draws of an epoch come from (seed, epoch), so an epoch does not
            depend on earlier ones.
        views: flips and crops applied to the images.
        average: moving average, updated after each step; None: no average.
        bookmark: stores positions within an epoch; None: an interrupted epoch starts again.
        progress: called after each batch.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    objective: Objective
    settings: TrainConfig
    views: FlipAndCrop
    average: WeightAverage | None
    bookmark: Bookmark | None
    progress: Callable[[Progress], None] | None

    def run(self, epoch: int, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Train for one epoch, counted from 0, or the rest of it; return its loss, accuracy and seconds.

        Raises:
            ValueError: labels beyond the model's classes, or a loss that is not finite.
        """
        drawing, dropping = _epoch_seeds(self.settings.seed, epoch)
        generator = torch.Generator().manual_seed(drawing)
        self.model.train()
        with seeded(dropping, self.images.device):
            batches = _batches(len(self.labels), self.settings.batch_size, generator)
            place = self._begun(epoch, generator)
            started = time.perf_counter() - place.seconds
            for number in range(place.batches, len(batches)):
                self._set_rate(optimizer, (epoch + number / len(batches)) / self.settings.epochs)
                loss = self._step(place, batches[number], optimizer, generator)
                place.seconds = time.perf_counter() - started
                if self.average is not None:
                    self.average.update(epoch * len(batches) + number)
                # A finished epoch is saved elsewhere, together with its test accuracy and monitor records.
                if self.bookmark is not None and place.batches < len(batches):
                    self.bookmark.keep(place, lambda: _states(generator, self.images.device))
                self._tell(
                    Progress(epoch + 1, self.settings.epochs, place.batches, len(batches), loss),
                    place,
                    generator,
                )
        return place.record(len(self.labels))

    def _tell(self, done: Progress, place: EpochPosition, generator: torch.Generator) -> None:
        """Call `progress`; if it raises KeyboardInterrupt, store the position first."""
        if self.progress is None:
            return
        try:
            self.progress(done)
        except KeyboardInterrupt:
            if self.bookmark is not None:
                self.bookmark.keep(place, lambda: _states(generator, self.images.device), now=True)
            raise

    def _begun(self, epoch: int, generator: torch.Generator) -> EpochPosition:
        """Return the position to start from, and restore the generator states at that position."""
        found = None if self.bookmark is None else self.bookmark.find(epoch)
        if found is None:
            return EpochPosition(epoch)
        _set_states(found[1], generator, self.images.device)
        return found[0]

    def _set_rate(self, optimizer: torch.optim.Optimizer, done: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.settings.schedule, self.settings.lr, done)

    def _step(
        self,
        place: EpochPosition,
        chosen: Tensor,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> float:
        chosen = chosen.to(self.images.device)
        x, y = self.views(self.images[chosen], chosen, place.epoch), self.labels[chosen]
        loss, right = self.objective(self._forward, x, y, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value = float(loss.detach())
        place.batches += 1
        if not math.isfinite(value):
            raise _diverged(place.epoch, place.batches, value)
        place.loss_sum, place.right = place.loss_sum + value * len(chosen), place.right + right
        return value

    def _forward(self, x: Tensor) -> Tensor:
        settings = self.settings
        return forward(self.model, x, precision=settings.precision, channels_last=settings.channels_last)


def forward(model: nn.Module, x: Tensor, *, precision: str, channels_last: bool) -> Tensor:
    """Return the model's outputs in float32, computed in the given precision and memory format."""
    if channels_last and x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return model(x).float()


def evaluate(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    *,
    transform: Transform | None = None,
    seed: int = 0,
    batch_size: int = 512,
) -> float:
    """Return the share of correct predictions in eval mode; the model's mode is restored.

    Args:
        model: maps (sample, ...) to scores (sample, class).
        data: images and labels.
        transform: a random element of this transform is applied to each image; None: no transform.
        seed: seed of those draws.
        batch_size: images per forward pass.
    """
    data = as_image_data(data)
    device = device_of(model)
    generator = torch.Generator().manual_seed(seed)
    right = 0
    with torch.no_grad(), _eval_mode(model):
        for chosen in torch.arange(len(data)).split(batch_size):
            x = data.images[chosen].to(device)
            x = x if transform is None else transform.random(x, generator=generator)
            right += int((model(x).argmax(1).cpu() == data.labels[chosen].cpu()).sum())
    return right / len(data)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter; the CPU for a model without parameters."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which layers such as dropout use, and restore them afterwards."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _epoch_seeds(seed: int, epoch: int) -> tuple[int, int]:
    """Return two seeds per epoch: for order and augmentation, and for random layers such as dropout."""
    drawing, dropping = np.random.SeedSequence([seed % 2**64, epoch]).generate_state(2, np.uint64)
    return int(drawing), int(dropping)


def _states(generator: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Return the states of all generators that an epoch draws from."""
    found = {"drawing": generator.get_state(), "cpu": torch.default_generator.get_state()}
    return found | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_states(states: Mapping[str, Tensor], generator: torch.Generator, device: torch.device) -> None:
    generator.set_state(states["drawing"])
    torch.default_generator.set_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _batches(samples: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    batches = list(torch.randperm(samples, generator=generator).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        # Batch normalisation cannot compute the variance of a single sample.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _diverged(epoch: int, batch: int, loss: float) -> ValueError:
    return ValueError(
        f"the loss became {loss} in epoch {epoch + 1}, batch {batch}. Lower lr, or check the images. The "
        "last checkpoint, if there is one, is from an earlier batch."
    )
