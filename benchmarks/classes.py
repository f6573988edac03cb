"""Time and memory of a measurement with 10, 100 and 1,000 classes, and of its report.

    python -m benchmarks.classes [--classes 10 100 1000] [--samples 8000] [--memory-gb 0.05] [--out FILE]

A network of 20 layers (ten linear, each followed by a ReLU) with 96 units each is measured with
`by_class=True`: random inputs, `iv.NormalizedVariance()`, eight elements. Each row is a process of its own,
with one thread; its peak is VmHWM. The first row of each budget has two classes, so differences from it are
due to the classes. Labels are known beforehand, so classes are walked in turn if the budget is small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import command_line

LAYERS, UNITS, ELEMENTS, SIDE = 10, 96, 8, 8


def measured(classes: int, samples: int, memory_gb: float | None) -> dict[str, float]:
    """Measure in this process, and write a report; return seconds and MiB."""
    import torch
    from torch import nn

    import invariscope as iv

    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden = [part for _ in range(LAYERS - 1) for part in (nn.Linear(UNITS, UNITS), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, UNITS), nn.ReLU(), *hidden).eval()
    inputs, labels = torch.rand(samples, 1, SIDE, SIDE), torch.arange(samples) % classes
    how = {"measures": "nv", "progress": False, "memory_gb": memory_gb}
    iv.measure(model, (inputs[:64], labels[:64] % 2), iv.Rotation.circle(ELEMENTS), by_class=True, **how)
    before, start = peak(), time.perf_counter()
    result = iv.measure(model, (inputs, labels), iv.Rotation.circle(ELEMENTS), by_class=True, **how)
    walked, used = time.perf_counter() - start, peak()
    with tempfile.TemporaryDirectory() as folder:
        path = result.report(Path(folder) / "report.html")
        size = path.stat().st_size / 2**20
    told = time.perf_counter() - start - walked
    return {"seconds": walked, "before": before, "peak": used, "report": told, "size": size}


def peak() -> float:
    """Return the largest memory of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def apart(classes: int, samples: int, memory_gb: float | None) -> dict[str, float]:
    """Return what `measured` finds in a process of its own."""
    call = f"from benchmarks.classes import *; print(json.dumps(measured({classes}, {samples}, {memory_gb})))"
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", call], env=one, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--memory-gb", type=float, nargs="+", default=[])
    given = parser.parse_args()
    lines = [
        "| memory_gb | classes | measure | above start | report | its size |",
        "|---|---|---|---|---|---|",
    ]
    for budget in [None, *given.memory_gb]:
        for count in given.classes:
            found = apart(count, given.samples, budget)
            added = found["peak"] - found["before"]
            lines.append(
                f"| {budget or 'default'} | {count:,} | {found['seconds']:.1f} s | {added:.0f} MiB "
                f"| {found['report']:.1f} s | {found['size']:.1f} MiB |"
            )
            print(lines[-1], file=sys.stderr)
    command_line.publish("# Number of classes\n\n" + "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
