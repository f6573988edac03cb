"""Time and memory of a measurement with 10, 100 and 1,000 classes, and of its report.

    python -m benchmarks.classes [--classes 10 100 1000] [--networks MLP CNN] [--samples 8000] [--out FILE]

The same random inputs, with eight elements, are measured with different numbers of classes
(`by_class=True`, `iv.NormalizedVariance()`): by a network of 20 layers with 96 units each, whose forward is
so fast that what each class costs shows, and by the CNN of `benchmarks.networks` (13 layers, 99,786 units,
for which a quarter of the samples is taken). Each row is a process of its own, with one thread. Seconds are
CPU seconds, so other processes hardly matter; memory is the peak (VmHWM) above that of a small measurement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import command_line

LAYERS, UNITS, ELEMENTS, SIDE = 10, 96, 8, 8


def _case(network: str, samples: int) -> tuple[Any, Any]:
    """Return a seeded network and inputs."""
    import torch
    from torch import nn

    from benchmarks.networks import case

    torch.manual_seed(0)
    if network != "MLP":
        return case(network, samples // 4)[:2]
    hidden = [part for _ in range(LAYERS - 1) for part in (nn.Linear(UNITS, UNITS), nn.ReLU())]
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, UNITS), nn.ReLU(), *hidden).eval()
    return model, torch.rand(samples, 1, SIDE, SIDE)


def measured(network: str, classes: int, samples: int) -> dict[str, float]:
    """Measure in this process, and write a report; return seconds and MiB."""
    import torch

    import invariscope as iv

    torch.set_num_threads(1)
    model, inputs = _case(network, samples)
    labels, turns = torch.arange(len(inputs)) % classes, iv.Rotation.circle(ELEMENTS)
    iv.measure(model, (inputs[:64], labels[:64] % 2), turns, by_class=True, progress=False)
    before, start = peak(), time.process_time()
    result = iv.measure(model, (inputs, labels), turns, by_class=True, progress=False)
    walked, used = time.process_time() - start, peak()
    with tempfile.TemporaryDirectory() as folder:
        size = result.report(Path(folder) / "report.html").stat().st_size / 2**20
    told = time.process_time() - start - walked
    return {"seconds": walked, "memory": used - before, "report": told, "size": size}


def peak() -> float:
    """Return the largest memory of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def apart(*given: Any) -> dict[str, float]:
    """Return what `measured` finds in a process of its own."""
    call = f"import json; from benchmarks.classes import measured; print(json.dumps(measured(*{given!r})))"
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", call], env=one, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--networks", nargs="+", default=["MLP", "CNN"])
    parser.add_argument("--samples", type=int, default=8000)
    given = parser.parse_args()
    lines = ["| network | classes | measure, s | peak, MiB | report, s | report, MiB |", "|---" * 6 + "|"]
    for network in given.networks:
        for classes in given.classes:
            found = apart(network, classes, given.samples)
            numbers = [f"{found[name]:.3g}" for name in ("seconds", "memory", "report", "size")]
            lines.append(f"| {network} | {classes:,} | {' | '.join(numbers)} |")
            print(lines[-1], file=sys.stderr)
    command_line.publish("# Number of classes\n\n" + "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
