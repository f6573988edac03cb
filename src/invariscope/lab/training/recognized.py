"""Self-supervised training without contrast: to tell which element of a transform was applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from invariscope.lab.training.features import Features
from invariscope.zoo.epochs import Progress
from invariscope.zoo.fitting import Training
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.train_config import TrainConfig

if TYPE_CHECKING:
    from invariscope.transforms import Transform


def recognize_elements(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    *,
    epochs: int,
    transform: Transform,
    batch_size: int = 64,
    lr: float = 1e-3,
    schedule: str = "constant",
    seed: int = 0,
    precision: str = "float32",
    channels_last: bool = False,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Training:
    """Trains what comes before a classifier's last linear layer to tell the elements of a transform apart.

    Each image of a batch is forwarded once for each element, and a linear layer that is thrown away
    afterwards is to name the element from what enters the classifier's last linear layer. That layer stays as
    it is: `train(model, data, trainable="head", ...)` then puts a linear probe on the features. Seeds,
    precision and checkpoints are as in `train`. The record's accuracy is the share of images of which every
    version is recognised.

    Args:
        model: a classifier with a linear layer at its end; changed in place, left in eval mode.
        data: training images; their labels are not used.
        epochs: passes over the data, counting those of a resumed training.
        transform: two elements or more, the same for every image; the published one is `QuarterTurns()`.
        batch_size, lr, schedule, seed, precision, channels_last, checkpoint, progress: as in `train`;
            the batch counts images, not their versions.
    Raises:
        ValueError: no linear layer, a transform that is drawn for each image or has one element alone,
            numbers out of range, or as `train`.

    Source:
        Gidaris, Singh and Komodakis 2018, arXiv:1803.07728.
    """
    config, objective = TrainConfig.of(locals()), ElementRecognition(transform)
    recognizer = Features(
        model,
        lambda width: nn.Linear(width, len(transform)),
        seed=seed,
        purpose="the element is to be named from what enters the last linear layer",
    )
    described = objective.describe()
    return recognizer.fit(data, objective, config, described, checkpoint=checkpoint, progress=progress)


@dataclass(frozen=True)
class ElementRecognition:
    """Which element of the transform each version of an image was moved by.

    Raises:
        ValueError: elements that cannot be told apart.
    """

    transform: Transform

    def __post_init__(self) -> None:
        if self.transform.per_sample or len(self.transform) < 2:
            raise ValueError(
                "elements can be recognised where there are two or more, the same for every image, such as "
                f"those of QuarterTurns(); got {self.transform!r}"
            )

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Cross entropy of the elements; labels are not looked at."""
        orbits = self.transform.orbit(x)
        count, elements = orbits.shape[:2]
        named = forward(orbits.reshape(count * elements, *x.shape[1:]))
        truth = torch.arange(elements, device=named.device).repeat(count)
        right = (named.argmax(1) == truth).view(count, elements).all(1)
        return functional.cross_entropy(named.float(), truth), int(right.sum())

    def describe(self) -> dict[str, Any]:
        """In plain values."""
        return {"recognized": self.transform.describe()}
