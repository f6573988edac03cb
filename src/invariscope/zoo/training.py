"""Train a classifier with augmentation by any transform: seeded, repeatable and resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from invariscope.common.progress import ticking
from invariscope.zoo.epochs import Progress
from invariscope.zoo.fitting import Training, fit
from invariscope.zoo.image_data import ImageData, as_image_data
from invariscope.zoo.objectives import Labelled
from invariscope.zoo.train_config import TrainConfig
from invariscope.zoo.trainable import trainable_names

if TYPE_CHECKING:
    from invariscope.transforms import Transform


@dataclass(frozen=True)
class Quick:
    """Options with which SimpleConv learns the 8,000 bundled digits within a minute on one core.

    Accuracy on test digits over three seeds: .966 to .974 for upright digits after 3 epochs (12 s on one
    core), and .915 to .937 for rotated digits after 10 epochs of training on them (41 s). Without batch
    normalisation, a higher learning rate can leave all units dead.
    """

    filters: int = 16
    batch_size: int = 64
    lr: float = 2e-3
    schedule: str = "cosine"
    plain_epochs: int = 3
    rotated_epochs: int = 10


QUICK = Quick()


def train(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    *,
    epochs: int,
    augmentation: Transform | None = None,
    batch_size: int = 256,
    lr: float = 1e-3,
    schedule: str = "constant",
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    flip: bool = False,
    crop_px: int = 0,
    ema: float = 0.0,
    seed: int = 0,
    precision: str = "float32",
    channels_last: bool = False,
    trainable: str | None = None,
    test: ImageData | tuple[Any, Any] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | Callable[[Progress], None] | None = None,
    monitor: Callable[[nn.Module, int], Sequence[dict[str, Any]] | None] | None = None,
) -> Training:
    """Train a classifier with Adam or SGD; the model is changed in place and left in eval mode.

    Order, augmentation and dropout are drawn from (seed, epoch): the same seed gives the same weights, bit
    for bit, on the same machine with the same number of threads, even after a resume. The global
    generators are restored.

    Args:
        model: maps (sample, ...) to log-probabilities or logits (sample, class), on any one device.
        data: training images and labels.
        epochs: total number of passes over the data, including those of an interrupted run.
        augmentation: a random element of this transform is applied to each image; None: no augmentation.
        batch_size: number of images per batch; the last batch of an epoch may be smaller.
        lr: learning rate; with a schedule, its peak.
        schedule: "constant"; "cosine": from lr down to 0 over all epochs, by a half cosine; "one_cycle":
            linearly from lr / 25 up to lr during the first 30 % of the steps, then down to 0 as in "cosine".
        optimizer: "adam", or "sgd" with Nesterov momentum 0.9.
        weight_decay: for "sgd": this multiple of each weight is added to its gradient. Biases and the
            parameters of normalisation layers do not decay.
        label_smoothing: this share of each target is spread evenly over all classes.
        flip: mirror each image left to right with probability 1/2, before the augmentation.
        crop_px: shift each image by up to this many pixels along each axis, reflecting it at its borders;
            CIFAR-10 is usually trained with 4. Flips and crops are drawn per (seed, epoch, sample).
        ema: decay of an exponential moving average of the weights and running statistics, such as 0.999 for
            thousands of steps; 0: none. Tests, the monitor and the trained network then use the average.
        seed: seed of all random draws.
        precision: "float32"; "bf16": bfloat16 in forward and backward passes, float32 for the weights;
            "auto": bf16 if a few timed steps are at least 1.2 times as fast with it on this machine. The
            choice is recorded, and kept when the training is resumed.
        channels_last: train in this memory format, which is faster for wide convolutions.
        trainable: the parameters to train: "head" (only the last linear layer) or a glob on parameter names
            ("features.0.*"); None: all. Running statistics of normalisation layers, which are not
            parameters, are updated in any case.
        test: data for the test accuracy after each epoch; never augmented.
        checkpoint: a file, replaced after each epoch and once a minute within an epoch; if it exists, the
            training resumes from it.
        progress: True shows a bar; a function is called after each batch. If it raises KeyboardInterrupt, the
            checkpoint is written first.
        monitor: a callable, such as an `iv.Monitor`, that takes the model and the number of completed epochs.
            It is called before the first epoch and after each, and must not change the model. The records
            that it returns, plain values with an "epoch", are kept. A training run that resumes between two
            epochs calls it again for the last completed epoch.
    Raises:
        ValueError: invalid data or options, a loss that is not finite, or the checkpoint of another run.

    Source:
        Kingma and Ba 2015, arXiv:1412.6980 (Adam); Smith and Topin 2018, arXiv:1708.07120 (one cycle);
        Szegedy et al. 2016, arXiv:1512.00567 (label smoothing).
    """
    config = TrainConfig.of(locals())
    described: dict[str, Any] = {"augmentation": None if augmentation is None else augmentation.describe()}
    if trainable is not None:
        described["trainable"] = trainable
    with _told(progress) as told:
        return fit(
            model,
            data,
            Labelled(augmentation, label_smoothing),
            config,
            chosen=trainable_names(model, trainable),
            described=described,
            checkpoint=checkpoint,
            progress=told,
            test=None if test is None else as_image_data(test),
            monitor=monitor,
        )


@contextmanager
def _told(
    progress: bool | Callable[[Progress], None] | None,
) -> Iterator[Callable[[Progress], None] | None]:
    """Yield the function to call after each batch: the caller's own, or one that updates a bar."""
    if callable(progress) or not progress:
        yield progress or None
        return
    with ticking(True, "training") as tick:
        yield lambda at: tick((at.epoch - 1) * at.batches + at.batch, at.epochs * at.batches)
