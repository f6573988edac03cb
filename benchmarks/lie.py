"""Measure the cost of Lie derivatives relative to forward passes of the same images.

    python -m benchmarks.lie [--pairs 7] [--samples 32] [--out FILE]

Processor time is measured on one thread, for the CNN of the overhead benchmark on 28 × 28 images. Bare
forward passes and Lie derivatives alternate, and the median and the range of the ratios of pairs are printed,
divided by the number of generators in a call. Times include everything that a call does: copying and
inspecting the model, transforming the images, and making the rows of the result. Float64 derivatives are
compared with float64 forward passes.
"""

from __future__ import annotations

import copy
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks import command_line
from benchmarks.networks import case

ALL = ("translation_x", "translation_y", "rotation", "scale")
TARGET = 4.0


@dataclass(frozen=True)
class Case:
    """A call to be timed.

    Args:
        title: title of the call.
        generators: number of generators in the call.
        action: the call.
        bare: the forward pass with which it is compared.
    """

    title: str
    generators: int
    action: Callable[[], object]
    bare: Callable[[], object]


def seconds(action: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    started = time.process_time()
    action()
    return time.process_time() - started


def bare(model: nn.Module, images: Tensor) -> Callable[[], object]:
    """Return a function that makes one forward pass."""

    def forward() -> object:
        with torch.inference_mode():
            return model(images)

    return forward


def cases(samples: int) -> list[Case]:
    """Return the calls: for the output only, for the terms of all layers, and for every layer on its own."""
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
            title = f"`iv.measure`, every layer on its own, float32, {len(more)} images"
            found.append(Case(title, count, every(generators, more), bare(model, more)))
    return found


def timed(case: Case, pairs: int) -> list[float]:
    """Return the ratio of each pair per generator."""
    case.action(), case.bare()
    return [seconds(case.action) / seconds(case.bare) / case.generators for _ in range(pairs)]


def table(found: list[tuple[Case, list[float]]]) -> list[str]:
    """Return the ratios as a Markdown table."""
    lines = [
        "| call | generators | × a forward pass, per generator: median (range) |",
        "| --- | --- | --- |",
    ]
    for timed_case, ratios in sorted(found, key=lambda entry: entry[0].title):
        figure = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})"
        lines.append(f"| {timed_case.title} | {timed_case.generators} | {figure} |")
    return lines


def main() -> None:
    """Time every call."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--samples", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [(entry, timed(entry, arguments.pairs)) for entry in cases(arguments.samples)]
    base = 1e3 * statistics.median(seconds(found[0][0].bare) for _ in range(arguments.pairs))
    machine = platform.processor() or platform.machine()
    report = [
        "# Lie derivatives compared with forward passes",
        "",
        f"{machine}, 1 thread, torch {torch.__version__}; batch {arguments.samples}, {arguments.pairs} "
        f"pairs. One float32 forward pass takes {base:.1f} ms of processor time. The target for one "
        f"generator and the output is a ratio of at most {TARGET:g}. Written by `python -m benchmarks.lie`.",
        "",
        *table(found),
    ]
    command_line.publish("\n".join(report), arguments.out)


if __name__ == "__main__":
    main()
