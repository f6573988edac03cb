"""Flips and crops of training images: a pure function of (seed, epoch, sample)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from invariscope.common.draws import Draws, Stream

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class FlipAndCrop:
    """Random flips and shifts, drawn per (seed, epoch, sample), independent of the batch.

    Each image is mirrored left to right with probability 1/2 and shifted by a whole number of pixels along
    each axis, uniformly from -crop_px to crop_px. The image is reflected at its borders.

    Args:
        seed: seed of the draws.
        flip: whether to mirror.
        crop_px: the largest shift; 0: none. Training on CIFAR-10 usually uses 4.

    >>> x = torch.arange(4.0).view(1, 1, 1, 4).expand(3, 1, 2, 4)
    >>> FlipAndCrop(seed=3, flip=True)(x, torch.arange(3), epoch=0)[:, 0, 0]
    tensor([[3., 2., 1., 0.],
            [3., 2., 1., 0.],
            [0., 1., 2., 3.]])
    """

    seed: int
    flip: bool = False
    crop_px: int = 0

    def check(self, images: Tensor) -> None:
        """Raise ValueError unless the images are large enough to be reflected at their borders."""
        if (self.flip or self.crop_px) and (images.ndim != 4 or min(images.shape[2:]) <= self.crop_px):
            raise ValueError(
                f"flip and crop_px need images (sample, C, H, W) with sides of more than crop_px pixels; got "
                f"crop_px={self.crop_px} and training data {tuple(images.shape)}."
            )

    def __call__(
        self, x: Float[Tensor, "sample C H W"], samples: Int[Tensor, " sample"], epoch: int
    ) -> Float[Tensor, "sample C H W"]:
        """Return the augmented images of one epoch.

        Args:
            x: a batch.
            samples: index of each image in the training data.
            epoch: counted from 0.
        """
        if not (self.flip or self.crop_px):
            return x
        mirrored, down_px, right_px = self._drawn(samples.cpu().numpy(), epoch)
        padded = functional.pad(x, (self.crop_px,) * 4, mode="reflect") if self.crop_px else x
        rows = _shifted(x.shape[2], down_px, np.zeros_like(mirrored)).to(x.device)
        columns = _shifted(x.shape[3], right_px, mirrored).to(x.device)
        images = torch.arange(len(x), device=x.device)[:, None, None]
        # Indexing with arrays on both sides of a slice moves the channels to the last axis.
        return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    def _drawn(self, samples: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return whether to mirror, and how far down and right the crop begins, each (sample,)."""
        draws = Draws(self.seed, samples, slots=3, stream=Stream.FLIP_AND_CROP, path=(epoch,)).uniform()
        starts = np.floor(draws[:, 1:] * (2 * self.crop_px + 1)).astype(np.int64)
        return self.flip & (draws[:, 0] < 0.5), starts[:, 0], starts[:, 1]


def _shifted(size: int, start: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Return (sample, size) positions along one axis from the given starts, reversed if mirrored."""
    steps = np.arange(size)
    return torch.from_numpy(np.where(mirrored[:, None], steps[::-1], steps) + start[:, None])
