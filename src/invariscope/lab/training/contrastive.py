"""Self-supervised training: two views of an image are to be nearer to each other than to other images."""

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
    """Trains what comes before a classifier's last linear layer without labels, as SimCLR does.

    Two views are drawn of each image of a batch; `nt_xent` is minimised of what enters the last linear layer,
    seen through a projection (linear, ReLU, linear) that is thrown away afterwards. The last linear layer
    stays as it is: `train(model, data, trainable="head", ...)` then puts a linear probe on the features.
    Seeds, precision and checkpoints are as in `train`. The record's accuracy is the share of images whose
    first view lies nearest to their second.

    Args:
        model: a classifier with a linear layer at its end; changed in place, left in eval mode.
        data: training images; their labels are not used.
        epochs: passes over the data, counting those of a resumed training.
        views: each view of an image is moved by an element of each of these, drawn at random, one
            transform after the other.
        intensity: each view is multiplied by a factor drawn from [1 − intensity, 1 + intensity].
        color: each channel of each view is then multiplied by a factor drawn from [1 − color, 1 + color], and
            a number drawn from [−color, color] is added to it, in the units of the data. Without it, views of
            a photograph are told apart by their colours alone, and features stay poor.
        temperature: divides the similarities.
        projection: how many values the projection has.
        batch_size, lr, schedule, seed, precision, channels_last, checkpoint, progress: as in `train`.
    Raises:
        ValueError: no linear layer, no views, numbers out of range, or as `train`.

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
        purpose="contrastive training shapes what enters the last linear layer",
    )
    described = {**objective.describe(), "projection": projection}
    return projected.fit(data, objective, config, described, checkpoint=checkpoint, progress=progress)


def nt_xent(
    embeddings: Float[Tensor, "views values"], *, temperature: float = 0.5
) -> tuple[Float[Tensor, ""], int]:
    """The normalised, temperature-scaled cross entropy of pairs of views, and how many pairs are found.

    .. math:: \\ell = -\\frac{1}{2n} \\sum_{k=1}^{2n} \\log
        \\frac{\\exp(\\cos(z_k, z_{k'}) / \\tau)}{\\sum_{l \\ne k} \\exp(\\cos(z_k, z_l) / \\tau)}

    with k' the other view of k's image. Views that all coincide give log(2n − 1).

    Args:
        embeddings: first views of n images, then the second views in the same order.
        temperature: τ.
    Returns:
        The loss, and the number of images whose first view is nearest to their second.

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
    """That two views of an image belong together.

    Args:
        views, intensity, color, temperature: as in `contrastive`.
    Raises:
        ValueError: no views that differ, or numbers out of range.
    """

    views: tuple[Transform, ...]
    intensity: float
    color: float
    temperature: float

    def __post_init__(self) -> None:
        if not (self.views or self.intensity or self.color):
            raise ValueError("two views of an image are the same without a transform: name some as views")
        if not (0 <= self.intensity < 1 and 0 <= self.color < 1 and self.temperature > 0):
            raise ValueError(
                "intensity and color lie in [0, 1) and temperature is positive; got "
                f"intensity={self.intensity}, color={self.color}, temperature={self.temperature}."
            )

    def __call__(
        self, forward: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, int]:
        """The loss of two views of each image; labels are not looked at."""
        both = torch.cat([self._view(x, generator), self._view(x, generator)])
        return nt_xent(forward(both), temperature=self.temperature)

    def _view(self, x: Tensor, generator: torch.Generator) -> Tensor:
        for transform in self.views:
            x = transform.random(x, generator=generator)
        factors = 1 + self.intensity * (2 * torch.rand(len(x), generator=generator) - 1)
        x = x * factors.to(x).view(-1, *(1 for _ in x.shape[1:]))
        return self._colored(x, generator) if self.color else x

    def _colored(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Each channel multiplied by a factor, and a number added."""
        draws = self.color * (2 * torch.rand(2, *x.shape[:2], generator=generator) - 1)
        factors, shifts = draws.to(x).view(2, *x.shape[:2], *(1 for _ in x.shape[2:]))
        return x * (1 + factors) + shifts

    def describe(self) -> dict[str, Any]:
        """In plain values."""
        views = [transform.describe() for transform in self.views]
        named = ("intensity", "color", "temperature")
        return {"views": views, **{name: getattr(self, name) for name in named}}


def _projection(width: int, values: int) -> nn.Module:
    integer("projection", values)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values))
