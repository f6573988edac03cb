"""Does an interval cover when the run stopped because it was narrow, and what does stopping save?

    python -m benchmarks.sequential [--draws 20000] [--out FILE]

First, means of independent values in eight groups, whose sums over stretches of samples are drawn directly,
so that twenty thousand runs take seconds. A run stops at the first look at which the intervals of all rows
that decide are narrow; "stop near n" means that an interval of the true error is as wide as asked at n
samples. Then the normalized variance of simulated layers, through the measure's own statistics. Last, a
network: how many inputs are forwarded until its intervals are narrow.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch

import invariscope as iv
from benchmarks.coverage import MEASURES, outputs_of, population, rows_of, simulated, states_of
from invariscope import zoo
from invariscope.data.order import pair_numbers
from invariscope.engine.extras.sequential import Stopping
from invariscope.intervals import GROUPS, SEQUENTIAL_REACH, jackknife

AT_LEAST, MOST = 128, 16384
T = 2.3646242515927845  # the 97.5 % point of t with seven degrees of freedom


def stretches(stopping: Stopping, most: int) -> np.ndarray:
    """(look,) numbers of samples at the looks, ending with all."""
    looks = itertools.takewhile(lambda look: look < most, stopping.looks())
    return np.array([*looks, most])


def of_means(
    kind: str, rows: int, expected: int, draws: int, rng: np.random.Generator, reach: float
) -> tuple[float, float]:
    """Coverage at the stopping time and mean number of samples, for means of values of variance 1.

    Args:
        kind: "normal", or "skewed" (exponential).
        rows: how many independent means decide.
        expected: samples at which an interval of the true error would be as wide as asked.
        reach: how many times as wide intervals are.
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
    """Coverage with and without the widening, by kind, deciding rows and expected stop."""
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
    """Coverage at the stopping time and mean samples, for the mean normalized variance of a layer."""
    name, (measure, _) = "normalized_variance", MEASURES["normalized_variance"]
    truth = population(kind, [name]).whole[name]
    stopping, rng = Stopping(width, AT_LEAST), np.random.default_rng(5)
    hits, used = 0, 0
    for _ in range(draws):
        drawn = simulated(kind, rng, most)
        for look in stretches(stopping, most).tolist():
            found = outputs_of(measure, states_of([measure], drawn, look), None, whole=False)
            row = dict(rows_of(measure, found, truth))[""]
            sizes = np.bincount(pair_numbers(look) % GROUPS, minlength=GROUPS).tolist()
            interval = jackknife(
                row.replicates[0], row.replicates[1:].tolist(), sizes, reach=SEQUENTIAL_REACH
            )
            if interval.high - interval.low <= width:
                break
        hits, used = hits + (interval.low <= row.truth <= interval.high), used + look
    return hits / draws, used / draws


def layers_table(draws: int) -> str:
    """Coverage for simulated layers, whose one row decides."""
    lines = ["| units | width asked for | coverage | samples used, mean |", "| --- | --- | --- | --- |"]
    for kind, width in itertools.product(("linear", "relu", "heavy"), (0.06, 0.04)):
        covered, used = of_layer(kind, width, draws)
        error = np.sqrt(covered * (1 - covered) / draws)
        lines.append(f"| {kind} | {width:g} | {covered:.1%} ± {error:.1%} | {used:,.0f} |")
    return "\n".join(lines)


def savings_table() -> str:
    """Inputs forwarded until intervals are that narrow, beside all of the bundled digits."""
    data = zoo.load("mnist_subset", split="test")
    torch.manual_seed(0)
    net = zoo.build("simple_conv", input_shape=data.shape, classes=len(data.classes))
    lines = [
        "| width asked for | samples used | inputs forwarded | widest interval | stopped |",
        "| --- | --- | --- | --- | --- |",
    ]
    for width in (0.4, 0.2, 0.1, 0.05):
        result = iv.measure(net, data.images, iv.QuarterTurns(), width=width, progress=False)
        told, options = result.provenance["sequential"], result.provenance["options"]
        lines.append(
            f"| {width:g} | {told['samples']:,} of {told['of']:,} | {options['forwarded_inputs']:,} | "
            f"{told['widest']['width']:.3f} | {told['stopped']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulates means and layers, and measures a network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20_000, help="of means; a tenth of them of layers")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {
        "Means of independent values": means_table(arguments.draws),
        "Mean normalized variance of simulated layers": layers_table(arguments.draws // 10),
        "SimpleConv with random weights, quarter turns, every layer": savings_table(),
    }
    report = "\n\n".join(f"## {title}\n\n{table}" for title, table in parts.items())
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
