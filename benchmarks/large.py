"""Measure time and memory for networks at 224 × 224 pixels, relative to bare forward passes.

    python -m benchmarks.large [--pairs 7] [--cases ResNet-50] [--skip-memory] [--out FILE]

Normalized variance of all layers with the default options (drawn units, intervals) for 64 images and 16
rotations. *Bare* means forward passes of images that are already transformed, at the fastest of four batch
sizes. Times are processor times of one thread, which depend less on other processes than wall times do. Bare
and measured runs alternate; the table shows the median and the range of the ratios of pairs. Memory is the
peak of a whole process beyond that of a process that only forwards the same images.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks import command_line
from benchmarks.networks import LARGE, case
from benchmarks.overhead import machine

ELEMENTS = iv.Rotation.circle(16)
BATCHES = (4, 8, 16, 32)
TARGETS = {
    ("ResNet-50", "ten classes"): 1.25,
    ("ViT-tiny/16", "all layers"): 1.25,
    ("EfficientNet-lite0", "all layers"): 1.6,
    ("ResNet-50", "first quarter of the layers"): 0.5,
}


def first_quarter(model: nn.Module) -> list[str]:
    """Return the names of the first quarter of the leaf modules."""
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    return leaves[: len(leaves) // 4]


def measurements(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Callable[[], object]]:
    """Return the measurements to time, by title."""

    def ours(data: object, **options: object) -> object:
        return iv.measure(model, data, ELEMENTS, progress=False, **options)

    return {
        "all layers": lambda: ours(images),
        "ten classes": lambda: ours((images, labels), by_class=True),
        "first quarter of the layers": lambda: ours(images, layers=first_quarter(model)),
    }


def seconds(action: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    started = time.process_time()
    action()
    return time.process_time() - started


def forward_all(model: nn.Module, orbit: Tensor, batch: int) -> None:
    """Run the network on all images in batches."""
    with torch.inference_mode():
        for part in orbit.split(batch):
            model(part)


def compare(name: str, pairs: int) -> list[str]:
    """Return the lines of one network in the table."""
    model, images, labels = case(name)
    orbit = ELEMENTS.orbit(images[:8]).flatten(0, 1).contiguous()
    share = len(orbit) / (len(images) * len(ELEMENTS))
    forward_all(model, orbit[:4], 4)
    batch = min(BATCHES, key=lambda size: seconds(lambda: forward_all(model, orbit, size)))
    lines = []
    for title, measure in measurements(model, images, labels).items():
        ratios = []
        for _ in range(pairs):
            bare = seconds(lambda: forward_all(model, orbit, batch)) / share
            ratios.append(seconds(measure) / bare)
        figure = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        target = TARGETS.get((name, title))
        lines.append(f"| {name} | {title} | {figure} | {f'≤ {target}' if target else ''} | {batch} |")
    return lines


def memory(name: str) -> str:
    """Return the peak memory of a measurement beyond that of forward passes, as a line of the table."""
    peaks = {}
    for title in ("bare", "all layers", "ten classes"):
        command = [sys.executable, "-m", "benchmarks.large", "--cases", name, "--memory-of", title]
        peaks[title] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    more = [f"{peaks[title] - peaks['bare']:.0f} MiB" for title in ("all layers", "ten classes")]
    return f"| {name} | {peaks['bare']:.0f} MiB | {more[0]} | {more[1]} |"


def run_once(name: str, title: str) -> None:
    """Run one measurement, or forward passes alone, and print the peak memory of this process in MiB."""
    model, images, labels = case(name)
    if title == "bare":
        forward_all(model, ELEMENTS.orbit(images[:4]).flatten(0, 1).contiguous(), 8)
    else:
        measurements(model, images, labels)[title]()
    # Not ru_maxrss, which a process inherits from its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def main() -> None:
    """Run the requested comparisons."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--cases", nargs="+", default=list(LARGE), choices=list(LARGE))
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        return run_once(arguments.cases[0], arguments.memory_of)
    report = [machine(), "", "| network | measurement | × bare, median (range) | target | bare batch |"]
    report.append("| --- | --- | --- | --- | --- |")
    for name in arguments.cases:
        report += compare(name, arguments.pairs)
    if not arguments.skip_memory:
        report += ["", "| network | peak, bare | more, all layers | more, ten classes |"]
        report += ["| --- | --- | --- | --- |", *map(memory, arguments.cases)]
    command_line.publish("\n".join(report), arguments.out)


if __name__ == "__main__":
    main()
