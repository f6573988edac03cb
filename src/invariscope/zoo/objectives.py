"""Training objectives: the protocol, and classification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from invariscope.transforms import Transform


class Objective(Protocol):
    """A training objective, which computes the loss of a batch."""

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Return the mean loss of a batch, and the number of correct predictions.

        Args:
            forward: the model, at the precision of the training run.
            x, y: images and labels.
            generator: the only source of randomness.
        """
        ...


@dataclass(frozen=True)
class Labelled:
    """Classification of images, each transformed by a random element.

    Args:
        augmentation: the transform; None: no augmentation.
        label_smoothing: share of each target that is spread evenly over all classes.
    """

    augmentation: Transform | None = None
    label_smoothing: float = 0.0

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Return the cross entropy with the labels, and the number of correct predictions.

        Raises:
            ValueError: outputs of the wrong shape, or labels beyond the model's classes.
        """
        if self.augmentation is not None:
            x = self.augmentation.random(x, generator=generator)
        output = forward(x)
        _check_classes(output, y)
        # Log-softmax does not change log-probabilities, so outputs may be either these or logits.
        loss = functional.cross_entropy(output, y, label_smoothing=self.label_smoothing)
        return loss, int((output.detach().argmax(1) == y).sum())


def _check_classes(output: Tensor, labels: Tensor) -> None:
    if output.ndim != 2 or len(output) != len(labels):
        raise ValueError(
            f"the model must return an output of shape (sample, class), here ({len(labels)}, classes); "
            f"got {tuple(output.shape)}."
        )
    if int(labels.max()) >= output.shape[1]:
        raise ValueError(
            f"labels go up to {int(labels.max())}, but the model has only {output.shape[1]} classes (0 to "
            f"{output.shape[1] - 1}). Build it with classes={int(labels.max()) + 1} or more."
        )
