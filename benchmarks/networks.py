"""Define the networks of the speed benchmarks: a small CNN, a narrow ResNet-18, and an MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def cnn() -> nn.Module:
    """Return a CNN for 28² images with 3 convolutions, 2 linear layers and 99,786 activations per input."""
    convolutions: list[nn.Module] = []
    for inside, outside in ((1, 32), (32, 64), (64, 128)):
        convolutions += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(1152, 128), nn.ReLU(), nn.Linear(128, 10))


def mlp() -> nn.Module:
    """Return a 784-256-10 network: 1,306 activations per input."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


class Block(nn.Module):
    """A basic residual block."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(outside), nn.ReLU()
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(outside), nn.ReLU()
        self.downsample = nn.Sequential()
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.downsample(x))


def resnet18(width: int = 16) -> nn.Module:
    """Return a ResNet-18 for 32² images; at width 16, 60 leaf layers have 446,730 activations per input."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    blocks = [
        Block(widths[stage] if first else widths[stage + 1], widths[stage + 1], 2 if first and stage else 1)
        for stage in range(4)
        for first in (True, False)
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, 10))


CASES = {
    "CNN": (cnn, (1, 28, 28), 256),
    "ResNet-18/16": (resnet18, (3, 32, 32), 64),
    "MLP": (mlp, (1, 28, 28), 256),
}


def case(name: str, samples: int | None = None) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a seeded network in eval mode, inputs and labels."""
    make, shape, count = CASES[name]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    count = samples or count
    inputs = torch.rand(count, *shape, generator=generator)
    return make().eval(), inputs, torch.arange(count) % 10
