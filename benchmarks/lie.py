"""What a Lie derivative costs beside a forward of the same images.

    python -m benchmarks.lie [--pairs 7] [--samples 32] [--out FILE]

Processor time of one thread, of the CNN of the overhead benchmark on 28 × 28 images. Bare forwards and
Lie derivatives alternate; the median of the pairs' ratios and their range are printed, by generator where
several are computed in one call. Everything that a call does is in its time: the copy of the model, its
inspection, the movement of the images, the rows of the result. A float64 derivative is compared with
float64 forwards.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.networks import case

ALL = ("translation_x", "translation_y", "rotation", "scale")
TARGET = 4.0


@dataclass(frozen=True)
class Case:
    """One call that is timed.

    Args:
        what: in words.
        generators: how many it computes.
        action: the call.
        bare: the forward that it is compared with.
    """

    what: str
    generators: int
    action: Callable[[], object]
    bare: Callable[[], object]


def seconds(action: Callable[[], object]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    action()
    return time.process_time() - started


def bare(model: nn.Module, images: Tensor) -> Callable[[], object]:
    """One forward."""

    def forward() -> object:
        with torch.inference_mode():
            return model(images)

    return forward


def cases(samples: int) -> list[Case]:
    """The output alone, layer by layer, and every layer from the input."""
    model, images, _ = case("CNN", samples)
    single = bare(model, images)
    double = bare(copy.deepcopy(model).double(), images.double())

    def output(generators: object, precision: str, layerwise: bool) -> Callable[[], object]:
        options = {"generators": generators, "precision": precision, "batch_size": samples}
        return lambda: iv.lie_derivative(model, images, layerwise=layerwise, **options)

    def every(generators: object, images: Tensor) -> Callable[[], object]:
        measures = [iv.LieDerivative(generators=generators)]
        return lambda: iv.measure(model, images, iv.Flip(), measures=measures, progress=False)

    found = []
    for generators, count in (("rotation", 1), (ALL, len(ALL))):
        for precision, forward in (("float32", single), ("float64", double)):
            for layerwise in (False, True):
                where = "terms of all layers" if layerwise else "the output"
                action = output(generators, precision, layerwise)
                found.append(Case(f"`iv.lie_derivative`, {where}, {precision}", count, action, forward))
        for times in (1, 8):
            more = images.repeat(times, 1, 1, 1)
            what = f"`iv.measure`, every layer on its own, float32, {len(more)} images"
            found.append(Case(what, count, every(generators, more), bare(model, more)))
    return found


def timed(case: Case, pairs: int) -> list[float]:
    """Ratio of each pair, by generator."""
    case.action(), case.bare()
    return [seconds(case.action) / seconds(case.bare) / case.generators for _ in range(pairs)]


def table(found: list[tuple[Case, list[float]]]) -> list[str]:
    """The ratios as Markdown."""
    lines = [
        "| what | generators | × a forward, by generator: median (range) |",
        "| --- | --- | --- |",
    ]
    for timed_case, ratios in sorted(found, key=lambda entry: entry[0].what):
        figure = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})"
        lines.append(f"| {timed_case.what} | {timed_case.generators} | {figure} |")
    return lines


def main() -> None:
    """Times every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [(entry, timed(entry, arguments.pairs)) for entry in cases(arguments.samples)]
    base = 1e3 * statistics.median(seconds(found[0][0].bare) for _ in range(arguments.pairs))
    machine = platform.processor() or platform.machine()
    report = [
        "# Lie derivatives beside forwards",
        "",
        f"{machine}, 1 thread, torch {torch.__version__}; batch {arguments.samples}, "
        f"{arguments.pairs} pairs; one float32 forward takes {base:.1f} ms of the processor. Made by "
        "`python -m benchmarks.lie`. The aim is at most "
        f"{TARGET:g} for one generator and the output.",
        "",
        *table(found),
    ]
    print("\n".join(report))
    if arguments.out:
        arguments.out.write_text("\n".join(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
