"""A worker process that dies and a forward without memory end in one clear line."""

import os

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import invariscope as iv
from invariscope.data.workers import WorkerDiedError, delivered

IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Dying(Dataset):
    """Ends its process, or raises an error of its own, at one sample."""

    def __init__(self, error=None):
        self.error = error

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, place):
        if place == 40:
            if self.error is not None:
                raise self.error
            os._exit(3)
        return IMAGES[place]


def loader(dataset):
    return DataLoader(dataset, batch_size=8, num_workers=1)


def test_a_worker_that_dies_is_reported_in_one_line():
    with pytest.raises(WorkerDiedError, match="num_workers=0") as raised:
        iv.measure(nn.Conv2d(1, 2, 3), loader(Dying()), iv.QuarterTurns(), progress=False)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, OSError)


def test_an_error_of_the_data_set_itself_is_passed_on():
    with pytest.raises(KeyError, match="no such file"):
        list(delivered(loader(Dying(KeyError("no such file")))))
    with pytest.raises(RuntimeError, match="killed by signal"):
        list(delivered(iter(_failing())))


def _failing():
    yield IMAGES
    raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")


class Greedy(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(1, 2, 3), error

    def forward(self, x):
        if len(x) > 3:
            raise self.error
        return self.conv(x)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_a_forward_without_memory_says_what_to_do(error):
    with pytest.raises(ValueError, match="give a smaller batch_size") as raised:
        iv.measure(Greedy(error), IMAGES, iv.QuarterTurns(), progress=False, batch_size=4)
    assert "\n" not in str(raised.value)
