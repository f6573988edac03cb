"""What a training learns from a batch: the protocol, and the class of each image."""

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
    """What is to be learned from a batch."""

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """The mean loss of a batch, and how many of its images came out right.

        Args:
            forward: the model, at the training's precision.
            x, y: images and labels.
            generator: the only source of chance.
        """
        ...


@dataclass(frozen=True)
class Labelled:
    """That each image, moved by an element drawn at random, belongs to its class.

    Args:
        augmentation: None: images as they are.
        label_smoothing: share of each target that is spread evenly over all classes.
    """

    augmentation: Transform | None = None
    label_smoothing: float = 0.0

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Cross entropy with the labels.

        Raises:
            ValueError: outputs of another shape, or labels beyond the model's classes.
        """
        if self.augmentation is not None:
            x = self.augmentation.random(x, generator=generator)
        output = forward(x)
        _check_classes(output, y)
        # Softmax leaves log-probabilities as they are: this is their negative log likelihood, and the right
        # loss for logits too.
        loss = functional.cross_entropy(output, y, label_smoothing=self.label_smoothing)
        return loss, int((output.detach().argmax(1) == y).sum())


def _check_classes(output: Tensor, labels: Tensor) -> None:
    if output.ndim != 2 or len(output) != len(labels):
        raise ValueError(
            f"training needs a model that returns (sample, class), here ({len(labels)}, classes); "
            f"got {tuple(output.shape)}."
        )
    if int(labels.max()) >= output.shape[1]:
        raise ValueError(
            f"labels go up to {int(labels.max())}, the model has only {output.shape[1]} classes (0 to "
            f"{output.shape[1] - 1}). Build it with classes={int(labels.max()) + 1} or more."
        )
