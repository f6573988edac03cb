"""What one of several processes runs: `python process_cases.py NAME FOLDER`, under torchrun's variables."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from shard_cases import assert_same, images, measured
from torch.nn.parallel import DistributedDataParallel

MEASURES = ("normalized_variance", "prediction", "information", "goodfellow", "cka")
CASES = {}


def case(function):
    """Name a case after its function."""
    CASES[function.__name__] = function
    return function


@case
def agree(rank, folder):
    """Every process gets the numbers of a single process, twice in a row."""
    expected = measured(images(), MEASURES, by_class=True, shard=False)
    assert_same(measured(images(), MEASURES, by_class=True), expected)
    found = measured(images(), ("normalized_variance",))
    found.save(folder / f"result-{rank}")


@case
def own_group(rank, folder):
    """The user's own group is used, and stays; the names of layers lack DDP's `module.`."""
    from shard_cases import network

    dist.init_process_group("gloo")
    model = DistributedDataParallel(network())
    measured(images(), model=model).save(folder / f"result-{rank}")
    dist.barrier()
    dist.destroy_process_group()


@case
def killed(rank, folder):
    """The last process is killed while all walk."""
    measured(images(2048), progress=lambda done, total: _at(done, rank, folder, _kill), batch_size=24)


@case
def failing(rank, folder):
    """The last process raises an error while all walk."""
    measured(images(2048), progress=lambda done, total: _at(done, rank, folder, _fail), batch_size=24)


@case
def different(rank, folder):
    """The processes have different data."""
    x, y = images()
    measured((x + rank, y))


@case
def alone(rank, folder):
    """One process does not measure."""
    if rank == 0:
        measured(images())


def _at(done, rank, folder, end):
    """End the last process after its first blocks; the others take their time."""
    (folder / f"walking-{rank}").touch()
    time.sleep(0.05)
    if rank == int(os.environ["WORLD_SIZE"]) - 1 and done > 40:
        end()


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _fail():
    raise ValueError("a sample is broken")


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, where = sys.argv[1:]
    CASES[name](int(os.environ["RANK"]), Path(where))
