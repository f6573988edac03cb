"""Measurements that are interrupted between two blocks, and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import invariscope as iv

IMAGES = torch.rand(128, 1, 6, 6, generator=torch.Generator().manual_seed(0))
TURNS = iv.QuarterTurns()


class Stopped(Exception):
    """Ends a measurement."""


def net(slope: float = 0.01) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.LeakyReLU(slope), nn.Flatten(), nn.Linear(48, 4)).eval()


def after(samples: int) -> Callable[[int, int | None], None]:
    """Return a progress function that ends the measurement after this number of samples."""

    def tick(done: int, total: int | None) -> None:
        if done >= samples:
            raise Stopped

    return tick


def measured(data: Any = IMAGES, transform: Any = TURNS, model: Any = None, **options: Any) -> iv.Result:
    given = {"progress": False, "batch_size": 64} | options
    return iv.measure(net() if model is None else model, data, transform, **given)


def interrupted(file: Path, samples: int = 64, *given: Any, **options: Any) -> None:
    with pytest.raises(Stopped):
        measured(*given, checkpoint=file, progress=after(samples), **options)
    assert file.exists()


def same(found: iv.Result, expected: iv.Result) -> None:
    """Assert that two results are equal bit for bit."""
    pd.testing.assert_frame_equal(found.table, expected.table, check_exact=True)
    pd.testing.assert_frame_equal(found.baseline, expected.baseline, check_exact=True)
    assert found.maps.keys() == expected.maps.keys()
    for key, array in expected.maps.items():
        np.testing.assert_array_equal(found.maps[key], array)
    assert found.provenance["data"] == expected.provenance["data"]


def stream(images: torch.Tensor) -> list[torch.Tensor]:
    return [images[k : k + 16] for k in range(0, len(images), 16)]


def loader(images: torch.Tensor) -> Any:
    return DataLoader(TensorDataset(images), batch_size=16)


class Items(Dataset):
    """A map-style dataset that is not a tensor in memory."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, place: int) -> Any:
        found = tuple(tensor[place] for tensor in self.tensors)
        return found if len(found) > 1 else found[0]


# Forms of data; streams and datasets are read in windows.
FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "array": lambda images: images,
    "stream": stream,
    "dataset": Items,
    "loader": loader,
}
