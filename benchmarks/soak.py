"""Repeat small measurements, saves, reports and assertions, and report whether anything accumulates.

    python -m benchmarks.soak [--minutes 60] [--seed 0]

After a warm-up (a tenth of the time, at most five minutes), resident memory, threads, open files, hooks on
models and files in the temporary folder are counted after each round. Memory may grow by 10 MB over the whole
run and by 2 MB per hour beyond what the scatter of the rounds explains; the counts may not grow at all.

Exits with 1 if anything grew.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import invariscope as iv

MB = 2**20
MOST_BYTES = 10 * MB
MOST_BYTES_PER_HOUR = 2 * MB
SEEDS = 8  # few, so that caches of limited size, such as that of unit draws, are full after the warm-up
COUNTS = ("threads", "open files", "hooks", "temporary files")


@dataclass(frozen=True)
class Count:
    """What a process holds after one round."""

    seconds: float
    rss: int
    counts: tuple[int, ...]


def hooks(models: list[nn.Module]) -> int:
    """Return the number of hooks on all modules of the models."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for model in models for module in model.modules() for kind in kinds)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count(models: list[nn.Module], folder: Path, since: float) -> Count:
    """Collect garbage, and count what is left."""
    gc.collect()
    files = sum(len(names) for _, _, names in os.walk(folder))
    found = (threading.active_count(), len(os.listdir("/proc/self/fd")), hooks(models), files)
    return Count(time.monotonic() - since, resident(), found)


def networks() -> list[nn.Module]:
    """Return the networks that all rounds share."""
    conv = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 10))
    invariant = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return [conv.eval(), invariant.eval()]


def one_round(models: list[nn.Module], number: int, out: Path) -> None:
    """Measure, save, load, report, compare, resume, assert, and fail once, with the round's own images."""
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(64, 1, 12, 12, generator=generator)
    labels = torch.arange(64) % 4
    conv, invariant = models
    turns = iv.QuarterTurns()
    result = iv.measure(conv, (images, labels), turns, by_class=True, progress=False, seed=number)
    result.save(out / "result", overwrite=True)
    again = iv.load(out / "result")
    again.report(out / "report.html")
    iv.compare(result, again)
    iv.measure(conv, _batches(images), iv.Rotation.circle(4), progress=False, checkpoint=out / "unfinished")
    iv.measure(conv, images, [lambda x: x, lambda x: x.flip(3)], measures="anova", progress=False)
    iv.assert_invariant(invariant, images, turns)
    for model, data in ((conv, images), (_Broken(conv), images), (conv, images * float("nan"))):
        try:
            iv.assert_invariant(model, data, turns, below=1e-9)
        except (AssertionError, ValueError):
            continue
        raise RuntimeError("an assertion passed that had to fail")


def _batches(images: Tensor) -> Iterator[Tensor]:
    yield from images.split(16)


class _Broken(nn.Module):
    """Fails in its third forward."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner network's output twice, then raise."""
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("broken")
        return self.inner(x)


def slope(counts: list[Count]) -> tuple[float, float]:
    """Return the slope of the memory in bytes per hour by least squares, and its standard error."""
    times, sizes = [c.seconds / 3600 for c in counts], [float(c.rss) for c in counts]
    fit = statistics.linear_regression(times, sizes)
    rest = [size - fit.intercept - fit.slope * at for at, size in zip(times, sizes, strict=True)]
    spread = sum((at - statistics.fmean(times)) ** 2 for at in times)
    return fit.slope, (sum(r * r for r in rest) / (len(rest) - 2) / spread) ** 0.5


def grown(counts: list[Count]) -> list[str]:
    """Return what grew between the end of the warm-up and the end."""
    first, last = counts[0], counts[-1]
    found = [
        f"{name}: {a} to {b}" for name, a, b in zip(COUNTS, first.counts, last.counts, strict=True) if b > a
    ]
    per_hour, error = slope(counts)
    if last.rss - first.rss > MOST_BYTES or per_hour - 3 * error > MOST_BYTES_PER_HOUR:
        found.append(f"memory: {(last.rss - first.rss) / MB:+.1f} MB")
    return found


def soaked(minutes: float, seed: int, folder: Path) -> list[Count]:
    """Run rounds for that long; return the counts after the warm-up."""
    models, out = networks(), folder / "out"
    started, warm = time.monotonic(), min(6 * minutes, 300)
    counts: list[Count] = []
    number = 0
    while len(counts) < 3 or time.monotonic() - started < 60 * minutes:
        one_round(models, seed + number % SEEDS, out)
        number += 1
        found = count(models, folder, started)
        if found.seconds >= warm:
            counts.append(found)
    return counts


def main() -> int:
    """Run, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    with tempfile.TemporaryDirectory(prefix="invariscope-soak-") as name:
        tempfile.tempdir = name  # so that files left in the temporary folder are those of this process
        counts = soaked(given.minutes, given.seed, Path(name))
        tempfile.tempdir = None
    first, last = counts[0], counts[-1]
    per_hour, error = slope(counts)
    print(f"{len(counts)} rounds in {(last.seconds - first.seconds) / 60:.1f} minutes after the warm-up")
    print(f"memory: {first.rss / MB:.1f} MB, then {last.rss / MB:.1f} MB", end="; ")
    print(f"slope {per_hour / MB:+.2f} ± {2 * error / MB:.2f} MB per hour")
    for name, before, after in zip(COUNTS, first.counts, last.counts, strict=True):
        print(f"{name}: {before}, then {after}")
    found = grown(counts)
    print("grew: " + "; ".join(found) if found else "nothing grew")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
