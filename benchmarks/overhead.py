"""Compare the cost of measurements with that of bare forward passes and of the `tmeasures` package.

    python -m benchmarks.overhead [--pairs 7] [--cases CNN MLP] [--skip-tmeasures] [--out FILE]

All figures are ratios of times from one run on one thread. *Bare* means forward passes of n·m inputs that are
already transformed, at the fastest of four batch sizes. All other times include the transform. Bare and
measured runs alternate, and the median and the range of the ratios of pairs are printed. Peak memory is that
of a whole process; there is one process per number of samples.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import invariscope as iv
from benchmarks import command_line
from benchmarks.networks import CASES, case

ELEMENTS = 16
TARGETS = {
    "CNN": {
        "normalized variance": 1.3,
        "with intervals and ten classes": 1.45,
        "with ANOVA and distances": 1.6,
    },
    "ResNet-18/16": {"normalized variance": 1.5, "with intervals and ten classes": 1.75},
    "MLP": {"normalized variance": 2.0, "with intervals and ten classes": 2.2},
}


def machine() -> str:
    """Return the processor and the version of torch."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return f"{found[1] if found else platform.machine()}, 1 thread, torch {torch.__version__}"


def bare(model: torch.nn.Module, inputs: torch.Tensor, batch: int) -> None:
    """Run the network on all inputs in batches."""
    with torch.inference_mode():
        for part in inputs.split(batch):
            model(part)


def seconds(action: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def fastest_batch(model: torch.nn.Module, inputs: torch.Tensor) -> int:
    """Return the batch size at which bare forward passes are fastest."""
    times = {
        batch: min(seconds(lambda batch=batch: bare(model, inputs, batch)) for _ in range(3))
        for batch in (16, 32, 64, 128)
    }
    return min(times, key=times.__getitem__)


def contenders(
    model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor
) -> dict[str, Callable[[], object]]:
    """Return the measurements to time, by title."""
    transform = iv.Rotation.circle(ELEMENTS)
    measures = [iv.NormalizedVariance()]
    family = [iv.TransformationVariance(), iv.SampleVariance(), iv.NormalizedVariance()]
    distances = [iv.TransformationDistance(), iv.SampleDistance(), iv.NormalizedDistance()]

    def ours(measures: list, data: object, **options: object) -> object:
        return iv.measure(model, data, transform, measures=measures, progress=False, **options)

    return {
        "normalized variance": lambda: ours(measures, inputs, intervals=False),
        "  with intervals": lambda: ours(measures, inputs),
        "  with intervals and ten classes": lambda: ours(measures, (inputs, labels), by_class=True),
        "TV, SV and NV with intervals": lambda: ours(family, inputs),
        "  with ANOVA and distances": lambda: ours([*family, iv.Anova(), *distances], inputs),
    }


def tmeasures_run(model: torch.nn.Module, inputs: torch.Tensor) -> Callable[[], object]:
    """Return the same measurement with `tmeasures`, over every leaf module."""
    from benchmarks.peers import tmeasures_normalized_variance

    return lambda: tmeasures_normalized_variance(model, inputs, iv.Rotation.circle(ELEMENTS))


def compare(name: str, pairs: int, with_tmeasures: bool) -> list[dict]:
    """Return the rows of one network."""
    model, inputs, labels = case(name)
    orbit = iv.Rotation.circle(ELEMENTS).orbit(inputs).flatten(0, 1).contiguous()
    batch = fastest_batch(model, orbit)
    actions = contenders(model, inputs, labels)
    if with_tmeasures:
        actions["tmeasures 1.2.11"] = tmeasures_run(model, inputs)
    for action in actions.values():
        action()  # the first run compiles kernels and fills caches
    ratios: dict[str, list[float]] = {title: [] for title in actions}
    base: list[float] = []
    for _ in range(pairs):
        for title, action in actions.items():
            base.append(seconds(lambda: bare(model, orbit, batch)))
            ratios[title].append(seconds(action) / base[-1])
    return [
        {
            "network": name,
            "title": title.strip(),
            "median": statistics.median(found),
            "low": min(found),
            "high": max(found),
            "pairs": pairs,
            "bare_ms_per_input": 1e3 * statistics.median(base) / len(orbit),
            "bare_batch": batch,
        }
        for title, found in ratios.items()
    ]


def peak_memory(name: str, samples: int) -> float:
    """Return the peak resident memory in MiB of a process that measures this number of samples."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--memory-of", name, "--samples", str(samples)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_once(name: str, samples: int) -> None:
    """Measure, and print the peak memory of this process."""
    model, inputs, _ = case(name, samples)
    iv.measure(model, inputs, iv.Rotation.circle(ELEMENTS), progress=False)
    # Not ru_maxrss, which a process inherits from its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def agreement() -> dict[str, float]:
    """Return relative differences between the preset "tmeasures" and that package, over live units."""
    from benchmarks.peers import agreement_with_tmeasures

    model, inputs, _ = case("CNN")
    return agreement_with_tmeasures(model, inputs, iv.Rotation.circle(ELEMENTS))


def table(rows: list[dict]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| network | measurement | × bare, median (range) | target |", "| --- | --- | --- | --- |"]
    for row in rows:
        goal = TARGETS[row["network"]].get(row["title"])
        figure = f"{row['median']:.2f} ({row['low']:.2f}–{row['high']:.2f})"
        lines.append(f"| {row['network']} | {row['title']} | {figure} | {f'≤ {goal}' if goal else ''} |")
    return "\n".join(lines)


def main() -> None:
    """Run the requested comparisons."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--skip-tmeasures", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", choices=list(CASES))
    parser.add_argument("--samples", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        return measure_once(arguments.memory_of, arguments.samples)
    report = [machine(), ""]
    rows = [
        row
        for name in arguments.cases
        for row in compare(name, arguments.pairs, not arguments.skip_tmeasures)
    ]
    report += [table(rows), ""]
    report += [
        f"Bare forward passes of {name} take {row['bare_ms_per_input']:.3f} ms per input at batch size "
        f"{row['bare_batch']}."
        for name in arguments.cases
        for row in [next(r for r in rows if r["network"] == name)]
    ]
    if not arguments.skip_memory:
        few, many = (peak_memory("CNN", samples) for samples in (256, 4096))
        report.append(
            f"\nThe peak memory for the CNN is {few:.0f} MiB at n = 256 and {many:.0f} MiB at n = 4096 "
            f"({many / few:.3f} ×)."
        )
    if not arguments.skip_tmeasures:
        report.append(f"\nRelative differences from tmeasures under its preset: {json.dumps(agreement())}")
    command_line.publish("\n".join(report), arguments.out)


if __name__ == "__main__":
    main()
