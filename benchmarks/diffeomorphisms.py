"""Compare the speed of random smooth deformations with a loop over images and the published formula.

    python -m benchmarks.diffeomorphisms [--pairs 9] [--out FILE]

Everything runs on one thread, with batches of 64 images with 3 channels, bilinear interpolation and one field
per image. Times include drawing the fields. Loop and batch alternate, and the median and the range of the
ratios of pairs are printed. Before the timing, both get the same coefficients and must return the same
images.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import invariscope as iv
from benchmarks import command_line

BATCH, CHANNELS, CUTOFF = 64, 3, 3
TARGETS = {32: 15.0, 224: 2.5}
# Calls per timing, so that none is shorter than a few milliseconds.
CALLS = {32: 8, 224: 1}


def component(coefficients: Tensor, n: int) -> Tensor:
    """Return one component of one field, (n, n): the double sum over sines, as in the paper."""
    places = torch.linspace(0, 1, n)
    modes = torch.arange(1, len(coefficients) + 1)
    sines = torch.sin(math.pi * places[:, None] * modes[None, :])
    return torch.einsum("ij,xi,yj->yx", coefficients, sines, sines)


def draw(n: int, temperature: float, generator: torch.Generator) -> Tensor:
    """Draw the coefficients of one component of one field."""
    modes = torch.arange(1, CUTOFF + 1).float()
    squares = modes[:, None] ** 2 + modes[None, :] ** 2
    inside = squares.sqrt() < CUTOFF + 0.5
    return (temperature / squares).sqrt() * inside * torch.randn(CUTOFF, CUTOFF, generator=generator)


def read(image: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Return an image (C, n, n) displaced by (n, n) fields in pixels: bilinear, with clamped edges."""
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
    """Deform each image separately."""
    n = images.shape[-1]
    moved = []
    for image in images:
        right, down = (component(draw(n, temperature, generator), n) * (n - 1) for _ in range(2))
        moved.append(read(image, right, down))
    return torch.stack(moved)


def agreement(images: Tensor) -> float:
    """Return the largest difference between the images of batch and loop for the same coefficients."""
    n = images.shape[-1]
    transform = iv.Diffeomorphism(1)
    found = transform.coefficients(range(len(images)), size=(n, n))[:, 0].float()
    one_by_one = [
        read(image, *(component(c, n) * (n - 1) for c in pair))
        for image, pair in zip(images, found, strict=True)
    ]
    return float((transform.orbit(images)[:, 0] - torch.stack(one_by_one)).abs().max())


def seconds(action: Callable[[], object], calls: int) -> float:
    """Return the wall time of one call, averaged over several."""
    started = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - started) / calls


def compare(n: int, pairs: int) -> dict[str, float]:
    """Return times per image in milliseconds, and the speed-up of the batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, CHANNELS, n, n, generator=generator)
    transform, temperature = iv.Diffeomorphism(1), iv.Diffeomorphism.temperature_of(1, n, CUTOFF)
    apart = agreement(images)
    if apart > 1e-3:
        raise RuntimeError(f"at n = {n} loop and batch differ by {apart:.2g}, so times cannot be compared")
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
    """Return the rows as a Markdown table."""
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
    """Time both image sizes."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lead = f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}, "
    lead += f"{arguments.pairs} interleaved pairs"
    report = "\n\n".join([lead, table([compare(n, arguments.pairs) for n in TARGETS])])
    command_line.publish(report, arguments.out)


if __name__ == "__main__":
    main()
