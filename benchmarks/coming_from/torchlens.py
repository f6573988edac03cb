"""Normalized variance from activations that `torchlens` stored, beside ours."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row
from invariscope import zoo

TITLE = "TorchLens"
PACKAGES = ("torchlens",)
TABLES = {
    "agreement": [
        Row("2", "normalized variance of `2`, a ReLU in place", 1e-6),
        Row("3.relu", "of `3.relu`, the same inside a block", 1e-6),
        Row("3/add", "of the sum: `add_1_6`, `3/add`", 1e-6),
        Row("3/relu", "of the functional ReLU: `relu_3_7`, `3/relu`", 1e-6),
        Row("6", "of the output", 1e-6),
        Row("operations", "responses with a row per input"),
    ],
    "costs": [
        Row("time", "processor time relative to a bare forward pass of the 1,024 inputs"),
        Row("memory", "MB of activations kept"),
    ],
}
LABELS = {"2": "2", "3.relu": "3.relu", "3/add": "add_1_6", "3/relu": "relu_3_7", "6": "linear_1_10"}


class Block(nn.Module):
    """A residual block with a ReLU in place, a sum and a functional ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.relu(self.conv(x)))


def network() -> nn.Module:
    """Return the network of the page."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), Block()]
        return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(784, 10)).eval()


def data() -> tuple[Tensor, iv.Rotation]:
    """Return the images and the transform."""
    return zoo.load("mnist_subset", samples=64).images, iv.Rotation.circle(16)


def measured() -> iv.Result:
    """Return our measurement."""
    measures = [iv.NormalizedVariance(min_firing=0)]
    return iv.measure(network(), *data(), measures=measures, progress=False)


def ours() -> Numbers:
    """Return our numbers."""
    table = measured().table.set_index("layer").value
    return {**{layer: float(table[layer]) for layer in LABELS}, "operations": str(len(table))}


def captured() -> list:
    """Return the operations that TorchLens stored for all transformed images in one batch."""
    import torchlens

    images, circle = data()
    with torch.no_grad():
        log = torchlens.trace(network(), circle.orbit(images).flatten(0, 1))
    found = [log[position] for position in range(len(log))]
    return [entry for entry in found if entry.out is not None and len(entry.out) == 1024]


def normalized_variance(responses: Tensor) -> float:
    """Return the mean normalized variance of live units, in NumPy."""
    found = responses.double().numpy().reshape(64, 16, -1)
    along, across = found.var(axis=1, ddof=1).mean(axis=0), found.var(axis=0, ddof=1).mean(axis=0)
    live = across > 1e-12
    return float(np.mean(along[live] / across[live]))


def theirs() -> Numbers:
    """Return the values of stored activations."""
    operations = captured()
    by_name = {name: entry for entry in operations for name in (entry.address, entry.label.split(":")[0])}
    values = {layer: normalized_variance(by_name[label].out) for layer, label in LABELS.items()}
    return {**values, "operations": str(len(operations))}


def costs() -> tuple[Numbers, Numbers]:
    """Return processor times relative to bare forward passes, and MB of stored activations."""
    model, (images, circle) = network(), data()
    inputs = circle.orbit(images).flatten(0, 1)

    def bare() -> None:
        with torch.inference_mode():
            model(inputs)

    kept = sum(entry.out.nbytes for entry in captured()) / 1e6
    measured()  # compiles kernels
    times = [[seconds(action) for action in (bare, captured, measured)] for _ in range(5)]
    base, peer, own = np.median(times, axis=0)
    return {"time": round(peer / base, 1), "memory": round(kept, 1)}, {
        "time": round(own / base, 1),
        "memory": 0.0,
    }


def seconds(action: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    started = time.process_time()
    action()
    return time.process_time() - started
