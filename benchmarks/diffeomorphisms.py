"""How fast random smooth deformations are, beside a loop over images after the published formula.

    python -m benchmarks.diffeomorphisms [--pairs 9] [--out FILE]

One thread, batches of 64 images of 3 channels, bilinear interpolation, one field per image; both
include the drawing of the fields. The two alternate; the median of the pairs' ratios and their range
are printed. Before anything is timed, the loop is given the coefficients of the batch, and both must
give the same images.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import invariscope as iv

BATCH, CHANNELS, CUTOFF = 64, 3, 3
TARGETS = {32: 15.0, 224: 2.5}
# More calls for small images, so that one timing is never below a few milliseconds.
CALLS = {32: 8, 224: 1}


def component(coefficients: Tensor, n: int) -> Tensor:
    """One component of one field, (n, n): the double sum over sines, as it is written in the paper."""
    places = torch.linspace(0, 1, n)
    modes = torch.arange(1, len(coefficients) + 1)
    sines = torch.sin(math.pi * places[:, None] * modes[None, :])
    return torch.einsum("ij,xi,yj->yx", coefficients, sines, sines)


def draw(n: int, temperature: float, generator: torch.Generator) -> Tensor:
    """Coefficients of one component of one field."""
    modes = torch.arange(1, CUTOFF + 1).float()
    squares = modes[:, None] ** 2 + modes[None, :] ** 2
    inside = squares.sqrt() < CUTOFF + 0.5
    return (temperature / squares).sqrt() * inside * torch.randn(CUTOFF, CUTOFF, generator=generator)


def read(image: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """The image (C, n, n) read that many pixels to the left and above: bilinear, edges clamped."""
    n = image.shape[-1]
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    x, y = (x - right).clamp(0, n - 1), (y - down).clamp(0, n - 1)
    left, above = x.floor().long(), y.floor().long()
    beyond, below = (left + 1).clamp(max=n - 1), (above + 1).clamp(max=n - 1)
    a, b = x - left, y - above
    upper = (1 - a) * image[:, above, left] + a * image[:, above, beyond]
    lower = (1 - a) * image[:, below, left] + a * image[:, below, beyond]
    return (1 - b) * upper + b * lower


def loop(images: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Each image deformed by itself."""
    n = images.shape[-1]
    moved = []
    for image in images:
        right, down = (component(draw(n, temperature, generator), n) * (n - 1) for _ in range(2))
        moved.append(read(image, right, down))
    return torch.stack(moved)


def agreement(images: Tensor) -> float:
    """Largest difference between the batch's images and the loop's, with the same coefficients."""
    n = images.shape[-1]
    transform = iv.Diffeomorphism(1)
    found = transform.coefficients(range(len(images)), size=(n, n))[:, 0].float()
    one_by_one = [
        read(image, *(component(c, n) * (n - 1) for c in pair))
        for image, pair in zip(images, found, strict=True)
    ]
    return float((transform.orbit(images)[:, 0] - torch.stack(one_by_one)).abs().max())


def seconds(action: Callable[[], object], calls: int) -> float:
    """Wall time of one call, averaged over a few."""
    started = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - started) / calls


def compare(n: int, pairs: int) -> dict[str, float]:
    """Times per image in milliseconds, and how many times faster the batch is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, CHANNELS, n, n, generator=generator)
    transform, temperature = iv.Diffeomorphism(1), iv.Diffeomorphism.temperature_of(1, n, CUTOFF)
    apart = agreement(images)
    if apart > 1e-3:
        raise RuntimeError(f"at n = {n} the two differ by {apart:.2g}: they do not compute the same thing")
    contenders = {
        "loop": lambda: loop(images, temperature, generator),
        "batch": lambda: transform.orbit(images),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for action in contenders.values():
        action()
    for _ in range(pairs):
        for name, action in contenders.items():
            times[name].append(seconds(action, CALLS[n]) * 1e3 / BATCH)
    ratios = [slow / fast for slow, fast in zip(times["loop"], times["batch"], strict=True)]
    return {
        "n": n,
        "loop": statistics.median(times["loop"]),
        "batch": statistics.median(times["batch"]),
        "median": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "apart": apart,
    }


def table(rows: list[dict[str, float]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| n | loop, ms per image | batch, ms per image | × faster, median (range) | target | "
        "largest difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['n']} | {row['loop']:.3f} | {row['batch']:.4f} | {row['median']:.1f} ({row['low']:.1f}–"
        f"{row['high']:.1f}) | ≥ {TARGETS[int(row['n'])]:g} | {row['apart']:.0e} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Runs both sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lead = f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}, "
    lead += f"{arguments.pairs} interleaved pairs"
    report = "\n\n".join([lead, table([compare(n, arguments.pairs) for n in TARGETS])])
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
