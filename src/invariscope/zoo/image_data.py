"""Labelled images for data sets and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images and labels of one split of a data set.

    Args:
        name: name of the data set.
        split: "train" or "test".
        images: float32 (sample, C, H, W), in [0, 1] unless standardised.
        labels: int64 (sample,), indices into `classes`.
        classes: names of the classes.
        mean, std: mean and standard deviation by which each channel was standardised; empty for images that
            were not standardised.
        note: a remark on the files, such as that they are not the original ones.
    """

    name: str
    split: str
    images: Float[Tensor, "sample C H W"]
    labels: Int[Tensor, " sample"]
    classes: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    note: str = ""

    def __repr__(self) -> str:
        """Return a one-line summary."""
        shape = " × ".join(map(str, self.shape))
        classes = f" in {len(self.classes)} classes" if self.classes else ""
        standardized = ", standardised" if self.mean else ""
        return f"<ImageData {self.name}, {self.split}: {len(self):,} of {shape}{classes}{standardized}>"

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image."""
        return tuple(self.images.shape[1:])

    def standardized(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> ImageData:
        """Return the images standardised per channel, `(x - mean) / std`.

        A network trained on such images must be measured on images standardised in the same way. Black is
        then no longer 0: a rotation that fills corners with 0 then fills them with the mean grey.

        Args:
            mean, std: one number per channel; by default, those of the images themselves.
        Raises:
            ValueError: the images are already standardised, the number of values differs from the number of
                channels, or a standard deviation is not positive.
        """
        if self.mean:
            raise ValueError(f"{self.name} is already standardised, by mean {self.mean} and std {self.std}.")
        axes = (0, 2, 3)
        # float64, because the sum over a whole data set would lose digits in float32.
        mean = self.images.double().mean(axes).tolist() if mean is None else [float(m) for m in mean]
        std = (
            self.images.double().std(axes, correction=0).tolist() if std is None else [float(s) for s in std]
        )
        channels = self.images.shape[1]
        if len(mean) != channels or len(std) != channels or not all(s > 0 for s in std):
            raise ValueError(
                f"{self.name} has {channels} channel(s): give a mean and a positive std per channel, "
                f"got mean {mean} and std {std}."
            )
        images = (self.images - _per_channel(mean)) / _per_channel(std)
        return replace(self, images=images, mean=tuple(mean), std=tuple(std))

    def subset(self, samples: int, *, seed: int = 0) -> ImageData:
        """Draw a random subset without replacement, in the original order.

        Raises:
            ValueError: fewer than one sample, or more than there are.
        """
        if not 1 <= samples <= len(self):
            raise ValueError(f"{self.name} has {len(self):,} {self.split} samples; got samples={samples}.")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = order[:samples].sort().values
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def describe(self) -> dict[str, Any]:
        """Return name, split, size, classes and standardisation as JSON-compatible values."""
        return {
            "name": self.name,
            "split": self.split,
            "samples": len(self),
            "shape": list(self.shape),
            "classes": list(self.classes),
            "mean": list(self.mean),
            "std": list(self.std),
        }


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)


def as_image_data(data: ImageData | tuple[Any, Any]) -> ImageData:
    """Check training data, an ImageData or a pair (x, y) of arrays or tensors, and return an ImageData.

    Raises:
        TypeError: another type, x not floating-point, or y not integers.
        ValueError: no samples, labels of the wrong length or below 0, or values that are not finite.
    """
    if not isinstance(data, ImageData):
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(f"data must be an ImageData or a pair (x, y), got {type(data).__name__}.")
        if not isinstance(data[1], Tensor) and np.asarray(data[1]).dtype.kind not in "iufb":
            raise TypeError(
                "y contains strings or objects; number classes from 0, in the order of the network's outputs."
            )
        images, labels = (torch.as_tensor(part) for part in data)
        data = ImageData("data", "train", images, labels, ())
    if not data.images.is_floating_point() or data.labels.is_floating_point():
        raise TypeError(
            f"x must be floating-point and y integers, got {data.images.dtype} and {data.labels.dtype}. "
            "Convert byte images with x.float() / 255."
        )
    if len(data.images) != len(data.labels) or data.labels.ndim != 1 or len(data.labels) == 0:
        raise ValueError(
            f"x and y need at least one sample, and one label per sample; got x {tuple(data.images.shape)} "
            f"and y {tuple(data.labels.shape)}."
        )
    if int(data.labels.min()) < 0:
        raise ValueError(f"labels must be numbered from 0; the smallest is {int(data.labels.min())}.")
    if not bool(torch.isfinite(data.images).all()):
        raise ValueError("x contains NaN or infinity; leave those samples out.")
    return replace(data, labels=data.labels.long())
