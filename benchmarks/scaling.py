"""Memory against the number of samples, elements and the budget, and time against the number of processes.

    python -m benchmarks.scaling [--pairs 7] [--skip-memory] [--out FILE]

Normalized variance of all layers with intervals. Memory is the peak of a process (VmHWM) beyond that of a
process that only forwards a batch of the same inputs; each row is a process of its own. For the rows with
a budget, `memory_gb=` is given, and the peak should exceed it by at most 15 %.

Two processes of one thread measure a half of the samples each (`shard=`), at the same time, and their results
are merged. Their wall time, with merging, is compared with that of one process of one thread; the table shows
the median and range of the ratios of pairs. This needs two idle cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import command_line
from benchmarks.classes import peak

# Network, samples, elements, classes, budget in GiB.
MEMORY: list[tuple[str, int, int, int, float | None]] = [
    *(("MLP", samples, 16, 1, None) for samples in (256, 1024, 4096, 16384)),
    *(("CNN", 64, elements, 1, None) for elements in (16, 100, 1000)),
    *(("CNN", 1024, 16, 10, budget) for budget in (0.125, 0.25, 0.5, 1.0)),
]
_SHARES = """
import sys, time, torch
torch.set_num_threads(1)
import invariscope as iv
from benchmarks.scaling import measure
shard = None if sys.argv[2] == "0" else (int(sys.argv[2]) - 1, 2)
measure(sys.argv[1], 64, shard=shard)
print("ready", flush=True)
for folder in sys.stdin:
    measure(sys.argv[1], 1024, shard=shard).save(folder.strip())
    print("done", flush=True)
"""


def measure(name: str, samples: int, elements: int = 16, classes: int = 1, **options: Any) -> Any:
    """Measure one network of `benchmarks.networks`."""
    import torch

    import invariscope as iv
    from benchmarks.networks import case

    torch.set_num_threads(1)
    model, images, labels = case(name, samples)
    data = images if classes == 1 else (images, labels % classes)
    options["by_class"] = classes > 1
    return iv.measure(model, data, iv.Rotation.circle(elements), progress=False, **options)


def peak_of(name: str, samples: int, elements: int, classes: int, budget: float | None, bare: bool) -> float:
    """Return the peak memory in MiB of a measurement in this process, or of forward passes alone."""
    import torch

    from benchmarks.networks import case

    if bare:
        import invariscope as iv

        model, images, _ = case(name, samples)
        iv.measure(model, images[:16], iv.Rotation.circle(2), progress=False)  # imports and compiled loops
        with torch.inference_mode():
            model(images[:128])
    else:
        measure(name, samples, elements, classes, memory_gb=budget)
    return peak()


def memory(row: tuple[str, int, int, int, float | None]) -> str:
    """Return the line of one row."""
    peaks = []
    for bare in (True, False):
        call = f"from benchmarks.scaling import peak_of; print(peak_of(*{row!r}, {bare}))"
        one = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", call], env=one, capture_output=True, text=True, check=True
        )
        peaks.append(float(done.stdout.splitlines()[-1]))
    name, samples, elements, classes, budget = row
    given = "" if budget is None else f"{1024 * budget:.0f}"
    return (
        f"| {name} | {samples:,} | {elements:,} | {classes} | {given} | "
        f"{peaks[0]:.0f} | {peaks[1] - peaks[0]:.0f} |"
    )


def two_processes(name: str, pairs: int) -> str:
    """Return how much faster two processes are than one, as a line of the table."""
    import invariscope as iv

    ratios = []
    with ExitStack() as stack:
        one, *halves = (stack.enter_context(_process(name, share)) for share in range(3))
        for process in (one, *halves):
            assert process.stdout is not None
            process.stdout.readline()
        for _ in range(pairs):
            with tempfile.TemporaryDirectory() as folder:
                alone = _seconds([one], [f"{folder}/whole"])
                started = time.perf_counter()
                _seconds(halves, [f"{folder}/0", f"{folder}/1"])
                iv.merge([f"{folder}/0", f"{folder}/1"])
                ratios.append(alone / (time.perf_counter() - started))
        for process in (one, *halves):
            assert process.stdin is not None
            process.stdin.close()
    return f"| {name} | {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | ≥ 1.85 |"


def _process(name: str, share: int) -> subprocess.Popen[str]:
    command, one = [sys.executable, "-c", _SHARES, name, str(share)], os.environ | {"OMP_NUM_THREADS": "1"}
    root, pipe = Path(__file__).resolve().parent.parent, subprocess.PIPE
    return subprocess.Popen(command, cwd=root, env=one, stdin=pipe, stdout=pipe, text=True)


def _seconds(processes: list[subprocess.Popen[str]], folders: list[str]) -> float:
    """Return the wall time until all processes have measured."""
    started = time.perf_counter()
    for process, folder in zip(processes, folders, strict=True):
        assert process.stdin is not None
        print(folder, file=process.stdin, flush=True)
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return time.perf_counter() - started


def main() -> None:
    """Print the tables."""
    from benchmarks.overhead import machine

    parser = command_line.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--skip-memory", action="store_true")
    given = parser.parse_args()
    lines = ["# Scaling", "", machine(), ""]
    if not given.skip_memory:
        lines += ["| network | samples | elements | classes | budget, MiB | bare, MiB | more, MiB |"]
        lines += ["|---" * 7 + "|", *map(memory, MEMORY), ""]
    lines += ["| network | two processes, times as fast (range) | target |", "|---" * 3 + "|"]
    lines += [two_processes(name, given.pairs) for name in ("CNN", "ResNet-18/16")]
    command_line.publish("\n".join(lines), given.out)


if __name__ == "__main__":
    main()
