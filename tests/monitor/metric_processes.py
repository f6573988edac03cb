"""What each process of a test of `SymmetryMetric` does."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch

import invariscope as iv

PROCESSES = 3


def network() -> torch.nn.Module:
    """Return the network of all processes."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(147, 4)
    )


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the samples of all processes."""
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(41, 1, 9, 9, generator=drawn), torch.randint(4, (41,), generator=drawn)


def main(rank: int, folder: Path) -> None:
    """Update a metric with the samples of one process; the last one gets none. Write what it computes."""
    warnings.simplefilter("ignore")  # a metric is computed before an update
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    metric = iv.loggers.SymmetryMetric(iv.QuarterTurns(), ["normalized_variance", "prediction"])
    x, y = samples()
    for chosen in (slice(rank, None, 4), slice(rank + 2, None, 4)) if rank < PROCESSES - 1 else ():
        metric.update(network(), x[chosen], y[chosen])
    found = {name: float(value) for name, value in metric.compute().items()}
    (folder / f"{rank}.json").write_text(json.dumps({"values": found, "blobs": len(metric.sums)}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
