"""Simulate the coverage of intervals when a run stops early, and count the samples that stopping saves.

    python -m benchmarks.sequential [--draws 20000] [--out FILE]

The first table simulates means of independent values in eight groups. Sums over blocks of samples are drawn
directly, so 20,000 runs take seconds. A run stops at the first check at which the intervals of all deciding
rows are narrow enough; "stop near n" means that an interval computed from the true error has the requested
width at n samples. The second table simulates the normalized variance of layers with the measure's own
statistics. The third counts the inputs forwarded until the intervals of a network are narrow.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

import invariscope as iv
from benchmarks import command_line
from benchmarks.coverage import MEASURES, outputs_of, rows_of, truth_of
from benchmarks.coverage_draws import KINDS, Sample, Simulation, drawn
from benchmarks.populations import simulated
from invariscope import zoo
from invariscope.engine.extras.sequential import Stopping
from invariscope.intervals import GROUPS, SEQUENTIAL_REACH, jackknife

AT_LEAST, MOST = 128, 16384
T = 2.3646242515927845  # the 97.5 % point of t with seven degrees of freedom


def stretches(stopping: Stopping, most: int) -> np.ndarray:
    """Return (look,) numbers of samples at which intervals are checked, ending with all samples."""
    looks = itertools.takewhile(lambda look: look < most, stopping.looks())
    return np.array([*looks, most])


def of_means(
    kind: str, rows: int, expected: int, draws: int, rng: np.random.Generator, reach: float
) -> tuple[float, float]:
    """Return coverage at the stopping time and the mean number of samples, for means of values of variance 1.

    Args:
        kind: "normal", or "skewed" (exponential).
        rows: number of independent means that decide.
        expected: number of samples at which an interval computed from the true error has the requested width.
        draws: number of runs.
        rng: generator of the draws.
        reach: factor by which intervals are widened.
    """
    width = 2 * T * reach / np.sqrt(expected)
    looks = stretches(Stopping(width, AT_LEAST), MOST)
    each = np.diff(looks, prepend=0)[:, None] // GROUPS
    shape = (draws, rows, len(looks), GROUPS)
    if kind == "normal":
        added = rng.normal(size=shape) * np.sqrt(each)
    else:
        added = rng.gamma(each, 1.0, size=shape) - each
    groups = added.cumsum(axis=2) / (looks[:, None] / GROUPS)
    half = reach * T * groups.std(axis=3, ddof=1) / np.sqrt(GROUPS)
    enough = (2 * half <= width).all(axis=1)
    enough[:, -1] = True
    stopped = enough.argmax(axis=1)
    covered = np.abs(groups.mean(axis=3)) <= half
    return float(covered[np.arange(draws), :, stopped].mean()), float(looks[stopped].mean())


def means_table(draws: int) -> str:
    """Return a table of coverage with and without widening, by kind, deciding rows and expected stop."""
    rng = np.random.default_rng(0)
    sizes = (128, 256, 512, 1024, 4096)
    lines = [
        "| values | rows that decide | interval | " + " | ".join(f"stop near {n:,}" for n in sizes) + " |",
        "| --- | --- | --- |" + " --- |" * len(sizes),
    ]
    for kind, rows, reach in itertools.product(("normal", "skewed"), (1, 3, 20), (1.0, SEQUENTIAL_REACH)):
        found = [of_means(kind, rows, n, max(draws // rows, 2000), rng, reach)[0] for n in sizes]
        plain = "as for fixed samples" if reach == 1 else f"{reach:g} × as wide"
        lines.append(f"| {kind} | {rows} | {plain} | " + " | ".join(f"{c:.1%}" for c in found) + " |")
    return "\n".join(lines)


def of_layer(kind: str, width: float, draws: int, most: int = 2048) -> tuple[float, float]:
    """Return coverage at the stopping time and the mean number of samples, for the NV of a layer."""
    name, (measure, _) = "normalized_variance", MEASURES["normalized_variance"]
    simulation = Simulation(KINDS[kind], simulated(kind))
    truth = truth_of(simulation, [name]).whole[name]
    stopping, rng = Stopping(width, AT_LEAST), np.random.default_rng(5)
    hits, used = 0, 0
    for _ in range(draws):
        sample = drawn(simulation.kind, simulation.population, most, rng, nested=False)
        for look in stretches(stopping, most).tolist():
            first = _first(sample, look)
            found = outputs_of(measure, simulation.states([measure], first), first)
            row = dict(rows_of(measure, found, truth))[""]
            value, *omitted = row.replicates.tolist()
            interval = jackknife(value, omitted, first.sizes.tolist(), reach=SEQUENTIAL_REACH)
            if interval.high - interval.low <= width or look == most:
                hits, used = hits + (interval.low <= row.truth <= interval.high), used + look
                break
    return hits / draws, used / draws


def _first(sample: Sample, count: int) -> Sample:
    """Return the samples with the lowest ranks."""
    groups, partners = sample.groups[:count], sample.partners[:count]
    return replace(sample, chosen=sample.chosen[:count], groups=groups, partners=partners)


def layers_table(draws: int) -> str:
    """Return a table of coverage for simulated layers, each with a single row that decides."""
    lines = ["| units | requested width | coverage | samples used, mean |", "| --- | --- | --- | --- |"]
    for kind, width in itertools.product(("linear", "relu", "heavy"), (0.06, 0.04)):
        covered, used = of_layer(kind, width, draws)
        error = np.sqrt(covered * (1 - covered) / draws)
        lines.append(f"| {kind} | {width:g} | {covered:.1%} ± {error:.1%} | {used:,.0f} |")
    return "\n".join(lines)


def savings_table() -> str:
    """Return a table of how many of the bundled digits are used until intervals are narrow enough."""
    data = zoo.load("mnist_subset", split="test")
    torch.manual_seed(0)
    net = zoo.build("simple_conv", input_shape=data.shape, classes=len(data.classes))
    lines = [
        "| requested width | samples used | inputs forwarded | widest interval | stopped |",
        "| --- | --- | --- | --- | --- |",
    ]
    for width in (0.4, 0.2, 0.1, 0.05):
        result = iv.measure(net, data.images, iv.QuarterTurns(), width=width, progress=False)
        run, options = result.provenance["sequential"], result.provenance["options"]
        lines.append(
            f"| {width:g} | {run['samples']:,} of {run['of']:,} | {options['forwarded_inputs']:,} | "
            f"{run['widest']['width']:.3f} | {run['stopped']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate means and layers, and measure a network."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--draws", type=int, default=20_000, help="runs for means; layers get a tenth of it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {
        "Means of independent values": means_table(arguments.draws),
        "Mean normalized variance of simulated layers": layers_table(arguments.draws // 10),
        "SimpleConv with random weights, quarter turns, every layer": savings_table(),
    }
    report = "\n\n".join(f"## {title}\n\n{table}" for title, table in parts.items())
    command_line.publish(report, arguments.out)


if __name__ == "__main__":
    main()
