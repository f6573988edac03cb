"""Fixed inputs and networks: drawn by numpy, in float64, so that machines agree on their numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

SIDE, SAMPLES, CLASSES = 6, 72, 3


def array(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal values of a seed."""
    return np.random.default_rng(seed).normal(size=shape)


def images(samples: int = SAMPLES, *, channels: int = 1, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.from_numpy(array(samples, channels, side, side, seed=seed))


def smooth_images(samples: int = SAMPLES, *, channels: int = 1, side: int = 12, seed: int = 0) -> Tensor:
    """A bump per image, off centre, each of its own height and place."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-0.2 * side, 0.2 * side, size=(2, samples, channels, 1, 1))
    height = rng.uniform(0.5, 1.5, size=(samples, channels, 1, 1))
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    squares = (x - place[0]) ** 2 + (y - place[1]) ** 2
    return torch.from_numpy(height * np.exp(-squares / (2 * (0.15 * side) ** 2)))


def labels(samples: int = SAMPLES, *, classes: int = CLASSES) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).permutation(np.arange(samples) % classes))


def filled(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 and evaluation mode, its floating-point state drawn by numpy."""
    rng = np.random.default_rng(seed)
    model = model.double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                scale = np.sqrt(max(1, tensor[0].numel())) if tensor.ndim > 1 else 3.0
                drawn = torch.from_numpy(np.asarray(rng.normal(size=tensor.shape) / scale))
                tensor.copy_(drawn.abs() + 0.5 if "running_var" in name else drawn)
    return model


def net(*, channels: int = 1, side: int = SIDE, outputs: int = CLASSES, seed: int = 0) -> nn.Sequential:
    """Two kinds of layers: feature maps of four channels, and flat ones."""
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(channels, 4, 3, padding=1),
        "relu": nn.ReLU(),
        "flat": nn.Flatten(),
        "fc": nn.Linear(4 * side * side, outputs),
    }
    model = nn.Sequential(OrderedDict(parts))
    filled(model, seed)
    return model


def image_net(seed: int = 0) -> nn.Module:
    """From images to images of one channel."""
    return filled(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 1)), seed)


class Odd(nn.Module):
    """Shared layers, operations in place, functional ones, a mapping as output and a skipped layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.shared, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.head, self.unused = nn.Linear(4, CLASSES), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor | None]:
        first = self.act(self.norm(self.stem(x)))
        second = torch.tanh(self.shared(first)) + self.shared(first)
        scores = self.head(second.mean((2, 3)))
        return {"scores": scores, "mean": self.norm.running_mean, "maps": second}


def odd() -> nn.Module:
    return filled(Odd())


class Pairs(Dataset):
    """Images with labels, one by one."""

    def __init__(self, samples: int = SAMPLES) -> None:
        self.images, self.labels = images(samples), labels(samples)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])


def stream(samples: int = SAMPLES, size: int = 10) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that can be read once; the last one is smaller."""
    yield from zip(images(samples).split(size), labels(samples).split(size), strict=True)
