"""A synthetic task that rewards stability: two pixels, labelled by their distance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.transforms.elements import Elements
from invariscope.zoo.image_data import ImageData

CLASSES, SPLITS = ("near", "far"), ("train", "test")
STEPS = {"→": (0, 1), "↑": (-1, 0), "←": (0, -1), "↓": (1, 0)}


def scale_detection(
    samples: int = 1024,
    *,
    size: int = 16,
    dimensions: int = 2,
    scale: float | None = None,
    gap: float = 4.0,
    split: str = "train",
    seed: int = 0,
) -> ImageData:
    """Return images of two bright pixels: of class 0 if these are closer than `scale`, else of class 1.

    The borders are periodic, so distances are those on a torus. No distance is within `gap / 2` of `scale`:
    with the default gap, moving each pixel by one never changes the class. Pixels are always more than two
    apart, so that such moves never make them meet.

    Args:
        samples: number of images; the classes alternate.
        size: pixels per side.
        dimensions: 2, or 1 for images of a single row.
        scale: the distance in pixels that separates the classes; by default 3/8 of the side.
        gap: width of the excluded distances around `scale`.
        split: "train" or "test", which are different draws.
        seed: seed of the draws.
    Returns:
        Images whose two pixels have the value √(pixels/2), so that their mean square is 1.
    Raises:
        ValueError: no distance is possible for a class, or an unknown split or number of dimensions.

    Source:
        The scale-detection task of Tomasini et al. 2022, arXiv:2210.01506.

    >>> data = scale_detection(4)
    >>> data.images.count_nonzero(dim=(1, 2, 3)).tolist(), data.labels.tolist()
    ([2, 2, 2, 2], [0, 1, 0, 1])
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    scale = 3 * size / 8 if scale is None else float(scale)
    shape = _shape_of(size, dimensions)
    steps = _steps_of(shape, scale, gap)
    rng = np.random.default_rng((seed, 0x5CA1E, SPLITS.index(split)))
    labels = np.arange(samples) % 2
    first = rng.integers(0, shape, (samples, 2))
    picked = np.stack([steps[label][rng.integers(len(steps[label]))] for label in labels])
    images = torch.zeros(samples, 1, *shape)
    for place in (first, (first + picked) % shape):
        images[np.arange(samples), 0, place[:, 0], place[:, 1]] = (shape[0] * shape[1] / 2) ** 0.5
    return ImageData("scale_detection", split, images, torch.from_numpy(labels), CLASSES)


def _shape_of(size: int, dimensions: int) -> tuple[int, int]:
    """Return (rows, columns) of an image."""
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions must be 1 (a row) or 2 (a square), got {dimensions!r}.")
    return (size, size) if dimensions == 2 else (1, size)


def _steps_of(shape: tuple[int, int], scale: float, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the displacements (step, 2) from the first pixel to the second, per class."""
    steps = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.hypot(*np.minimum(steps, np.array(shape) - steps).T)
    near, far = (distance > 2) & (distance < scale - gap / 2), distance > scale + gap / 2
    for name, kept in zip(CLASSES, (near, far), strict=True):
        if not kept.any():
            raise ValueError(
                f"no two of {shape[0]} × {shape[1]} pixels are {name} at scale={scale:g} and gap={gap:g}: "
                f"distances range from 2 to {distance.max():.3g}. Increase size or decrease gap."
            )
    return steps[near], steps[far]


def unit_displacements(*, dimensions: int = 2) -> Elements:
    """Return all ways to move two bright pixels by one pixel each: 16 exact elements, or 4 along a row.

    The borders are periodic. Use these elements with images of `scale_detection`; with its default gap, they
    do not change the class.

    Args:
        dimensions: number of dimensions of the images.
    Raises:
        ValueError: an unknown number of dimensions; on application, an image without exactly two nonzero
            pixels.

    >>> unit_displacements().labels[:3]
    ('→ →', '→ ↑', '→ ←')
    """
    down = _shape_of(2, dimensions)[0] > 1
    steps = {name: step for name, step in STEPS.items() if down or not step[0]}
    pairs = list(itertools.product(steps.items(), repeat=2))
    names = ("first_down_px", "first_right_px", "second_down_px", "second_right_px")
    moves = [(*first, *second) for (_, first), (_, second) in pairs]
    return Elements(
        [_Moved(move[:2], move[2:]) for move in moves],
        labels=[f"{first} {second}" for (first, _), (second, _) in pairs],
        parameters={name: [move[k] for move in moves] for k, name in enumerate(names)},
    )


@dataclass(frozen=True)
class _Moved:
    """Moves the two bright pixels of an image, in reading order, each by its own (down, right)."""

    first: tuple[int, int]
    second: tuple[int, int]

    def __call__(self, x: Tensor) -> Tensor:
        places = (x != 0).any(dim=1).nonzero()
        if x.ndim != 4 or len(places) != 2 * len(x) or (places[::2, 0] != places[1::2, 0]).any():
            raise ValueError(
                "unit displacements need images with exactly two nonzero pixels: use those of "
                "zoo.scale_detection without standardising them."
            )
        moved, size = torch.zeros_like(x), torch.tensor(x.shape[2:])
        for own, step in ((places[::2], self.first), (places[1::2], self.second)):
            rows, down, right = own.unbind(1)
            to = (own[:, 1:].cpu() + torch.tensor(step)) % size
            moved[rows, :, to[:, 0], to[:, 1]] += x[rows, :, down, right]
        return moved
