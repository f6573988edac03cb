"""Self-supervised training: recognise which element of a transform was applied."""

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
    """Train all layers before a classifier's last linear layer to recognise the elements of a transform.

    Each image of a batch is transformed by every element, and an additional linear layer predicts the element
    from the input of the classifier's last linear layer. The additional layer is discarded afterwards, and
    the last linear layer is left unchanged: `train(model, data, trainable="head", ...)` then fits a linear
    probe to the features. Seeds, precision and checkpoints are as in `train`. The recorded accuracy is the
    proportion of images for which the element is recognised in every version.

    Args:
        model: a classifier that ends with a linear layer; changed in place, left in eval mode.
        data: training images; labels are not used.
        epochs: total number of passes over the data, including those of an interrupted run.
        transform: at least two elements, the same for every image; the publication uses `QuarterTurns()`.
        batch_size, lr, schedule, seed, precision, channels_last, checkpoint, progress: as in `train`;
            batch_size counts images, not their versions.
    Raises:
        ValueError: no linear layer, a transform that is drawn per image or has a single element, numbers
            out of range, or as for `train`.

    Source:
        Gidaris, Singh and Komodakis 2018, arXiv:1803.07728.
    """
    config, objective = TrainConfig.of(locals()), ElementRecognition(transform)
    recognizer = Features(
        model,
        lambda width: nn.Linear(width, len(transform)),
        seed=seed,
        purpose="elements are recognised from the input of the last linear layer",
    )
    described = objective.describe()
    return recognizer.fit(data, objective, config, described, checkpoint=checkpoint, progress=progress)


@dataclass(frozen=True)
class ElementRecognition:
    """The objective of recognising which element produced each version of an image.

    Raises:
        ValueError: the elements are drawn per image, or there are fewer than two.
    """

    transform: Transform

    def __post_init__(self) -> None:
        if self.transform.per_sample or len(self.transform) < 2:
            raise ValueError(
                "the transform needs two or more elements, the same for every image, such as QuarterTurns(); "
                f"got {self.transform!r}"
            )

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Return the cross entropy of the elements, and the number of recognised images; `y` is not used."""
        orbits = self.transform.orbit(x)
        count, elements = orbits.shape[:2]
        named = forward(orbits.reshape(count * elements, *x.shape[1:]))
        truth = torch.arange(elements, device=named.device).repeat(count)
        right = (named.argmax(1) == truth).view(count, elements).all(1)
        return functional.cross_entropy(named.float(), truth), int(right.sum())

    def describe(self) -> dict[str, Any]:
        """Return the objective as plain values."""
        return {"recognized": self.transform.describe()}
