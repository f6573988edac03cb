"""Contrastive training: two views of an image become more similar than views of different images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from invariscope.common.checks import integer
from invariscope.lab.training.features import Features
from invariscope.zoo.epochs import Progress
from invariscope.zoo.fitting import Training
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.train_config import TrainConfig

if TYPE_CHECKING:
    from jaxtyping import Float

    from invariscope.transforms import Transform


def contrastive(
    model: nn.Module,
    data: ImageData | tuple[Any, Any],
    *,
    epochs: int,
    views: Transform | Sequence[Transform],
    intensity: float = 0.0,
    color: float = 0.0,
    temperature: float = 0.5,
    projection: int = 64,
    batch_size: int = 256,
    lr: float = 1e-3,
    schedule: str = "constant",
    seed: int = 0,
    precision: str = "float32",
    channels_last: bool = False,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Training:
    """Train, without labels, all layers before a classifier's last linear layer, as in SimCLR.

    Two views of each image in a batch are drawn, and `nt_xent` is minimised on a projection (linear, ReLU,
    linear) of the input of the last linear layer. The projection is discarded afterwards, and the last linear
    layer is left unchanged: `train(model, data, trainable="head", ...)` then fits a linear probe to the
    features. Seeds, precision and checkpoints are as in `train`. The recorded accuracy is the proportion of
    images whose first view is closer to their second view than to any other view.

    Args:
        model: a classifier that ends with a linear layer; changed in place, left in eval mode.
        data: training images; labels are not used.
        epochs: total number of passes over the data, including those of an interrupted run.
        views: transforms; each view of an image is transformed by a random element of each, in order.
        intensity: each view is multiplied by a factor drawn from [1 − intensity, 1 + intensity].
        color: each channel of each view is then multiplied by a factor drawn from [1 − color, 1 + color], and
            shifted by a number drawn from [−color, color], in units of the data. With color=0, photographs
            can be distinguished by their colours alone, and features remain poor.
        temperature: divisor of the similarities.
        projection: number of outputs of the projection.
        batch_size, lr, schedule, seed, precision, channels_last, checkpoint, progress: as in `train`.
    Raises:
        ValueError: no linear layer, no views, numbers out of range, or as for `train`.

    Source:
        Chen, Kornblith, Norouzi and Hinton 2020, arXiv:2002.05709.
    """
    config = TrainConfig.of(locals())
    several = tuple(views) if isinstance(views, Sequence) else (views,)
    objective = Pairs(several, intensity, color, temperature)
    projected = Features(
        model,
        lambda width: _projection(width, projection),
        seed=seed,
        purpose="contrastive training trains the input of the last linear layer",
    )
    described = {**objective.describe(), "projection": projection}
    return projected.fit(data, objective, config, described, checkpoint=checkpoint, progress=progress)


def nt_xent(
    embeddings: Float[Tensor, "views values"], *, temperature: float = 0.5
) -> tuple[Float[Tensor, ""], int]:
    """Return the normalised, temperature-scaled cross entropy of view pairs, and how many are recognised.

    .. math:: \\ell = -\\frac{1}{2n} \\sum_{k=1}^{2n} \\log
        \\frac{\\exp(\\cos(z_k, z_{k'}) / \\tau)}{\\sum_{l \\ne k} \\exp(\\cos(z_k, z_l) / \\tau)}

    where k' is the other view of the same image as k. If all views coincide, the loss is log(2n − 1).

    Args:
        embeddings: the first views of n images, then the second views in the same order.
        temperature: τ.
    Returns:
        The loss, and the number of images whose first view is closest to the second view of the same image.

    >>> loss, found = nt_xent(torch.eye(2).repeat(2, 1), temperature=0.1)  # two images, views alike
    >>> round(float(loss), 5), found
    (9e-05, 2)
    """
    count = len(embeddings) // 2
    unit = functional.normalize(embeddings, dim=1)
    similarity = unit @ unit.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=unit.device)
    similarity = similarity.masked_fill(itself, -torch.inf)
    other = torch.arange(2 * count, device=unit.device).roll(count)
    found = (similarity[:count].argmax(1) == other[:count]).sum()
    return functional.cross_entropy(similarity, other), int(found)


@dataclass(frozen=True)
class Pairs:
    """The objective of matching two views of each image.

    Args:
        views, intensity, color, temperature: as in `contrastive`.
    Raises:
        ValueError: views that do not differ, or numbers out of range.
    """

    views: tuple[Transform, ...]
    intensity: float
    color: float
    temperature: float

    def __post_init__(self) -> None:
        if not (self.views or self.intensity or self.color):
            raise ValueError("the two views of an image are identical: give transforms as views")
        if not (0 <= self.intensity < 1 and 0 <= self.color < 1 and self.temperature > 0):
            raise ValueError(
                "intensity and color must lie in [0, 1) and temperature must be positive; got "
                f"intensity={self.intensity}, color={self.color}, temperature={self.temperature}."
            )

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """Return the loss of two views of each image, and the number of recognised pairs; `y` is not used."""
        both = torch.cat([self._view(x, generator), self._view(x, generator)])
        return nt_xent(forward(both), temperature=self.temperature)

    def _view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        for transform in self.views:
            x = transform.random(x, generator=generator)
        factors = 1 + self.intensity * (2 * torch.rand(len(x), generator=generator) - 1)
        x = x * factors.to(x).view(-1, *(1 for _ in x.shape[1:]))
        return self._colored(x, generator) if self.color else x

    def _colored(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Scale and shift each channel at random."""
        draws = self.color * (2 * torch.rand(2, *x.shape[:2], generator=generator) - 1)
        factors, shifts = draws.to(x).view(2, *x.shape[:2], *(1 for _ in x.shape[2:]))
        return x * (1 + factors) + shifts

    def describe(self) -> dict[str, Any]:
        """Return the objective as plain values."""
        views = [transform.describe() for transform in self.views]
        named = ("intensity", "color", "temperature")
        return {"views": views, **{name: getattr(self, name) for name in named}}


def _projection(width: int, values: int) -> nn.Module:
    integer("projection", values)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values))
