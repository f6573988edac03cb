"""A result with classes, curves, maps and undefined numbers, for the tests of every logger and format."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace

# W&B keeps copies of artifacts in the home folder unless told otherwise.
_FOLDER = tempfile.TemporaryDirectory(prefix="loggers-")
_PLACES = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DIR")
os.environ.update(MLFLOW_ALLOW_FILE_STORE="true", WANDB_MODE="offline", WANDB_SILENT="true")
os.environ.update(dict.fromkeys(_PLACES, _FOLDER.name))

import pytest  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import invariscope as iv  # noqa: E402
from invariscope import zoo  # noqa: E402


class Shared(nn.Module):
    """A network that runs one module twice, and adds without a module."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu, self.conv2 = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 10, 3)

    def forward(self, x):
        x = self.relu(self.conv1(x))
        return self.relu(self.conv2(x + 1)).mean((2, 3))


@pytest.fixture(scope="session")
def results() -> list[iv.Result]:
    """Results of two networks of the same architecture on the same samples."""
    digits, found = zoo.load("mnist_subset", samples=96), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(
            iv.measure(
                Shared(), digits, iv.Rotation.circle(4), measures="nv, consistency, prediction",
                by_class=True, progress=False,
            )
        )  # fmt: skip
    # An infinite value, which loggers leave out and files keep.
    rows = (*found[0].rows[:-1], replace(found[0].rows[-1], value=float("inf")))
    return [replace(found[0], rows=rows), found[1]]
