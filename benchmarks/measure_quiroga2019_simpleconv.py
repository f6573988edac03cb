"""Compare four values of SimpleConv, trained on upright or on rotated MNIST images, with the published ones.

usage: python -m benchmarks.measure_quiroga2019_simpleconv --data-dir FOLDER --networks FOLDER [--out FILE]

The networks are those of `train_quiroga2019_simpleconv.py`. The conventions are those of the 2019 code. There
are 16 angles −180 + 22.5 j with ±1° of jitter drawn per image. Test images are standardised by their own mean
and standard deviation (in class runs, those of the class). Feature maps are replaced by their mean, standard
deviations are used instead of variances, every intermediate value is a layer, 0/0 counts as 1, and the mean
is over all finite activations. Intervals are 95 % intervals over samples (delete-a-group jackknife).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import invariscope as iv
from benchmarks import command_line
from invariscope.intervals import GROUPS, Interval, jackknife
from invariscope.zoo import load, load_network

PUBLISHED = {"plain": (0.732, 1.010), "rotated": (0.686, 0.973)}
MEASURE = "normalized_variance"


def measured(model: torch.nn.Module, images: torch.Tensor, preset: str) -> iv.Result:
    """Measure images, standardised by their own mean and deviation."""
    angles = iv.Rotation.circle(16, start_deg=-180, jitter_deg=1, padding="border")
    inputs = (images - images.mean()) / images.std()
    return iv.measure(model, inputs, angles, measures=[iv.NormalizedVariance(preset=preset)])


def overall(rows: list[dict], *, replicate: int | None = None) -> float:
    """Return the mean over all finite activations of all layers."""
    weights = [row["counted_units"] for row in rows]
    values = [row["value"] if replicate is None else row["replicates"][replicate] for row in rows]
    return float(np.average(values, weights=weights))


def interval(rows: list[dict]) -> Interval:
    """Return the interval of the mean over all activations."""
    omitted = [overall(rows, replicate=g) for g in range(GROUPS)]
    return jackknife(overall(rows), omitted, rows[0]["group_sizes"])


def class_conditional(model: torch.nn.Module, data: object, preset: str) -> float:
    """Return the mean over classes, then over all activations, ignoring NaN."""
    images, labels = data.images, data.labels  # type: ignore[attr-defined]
    runs = [measured(model, images[labels == label], preset) for label in range(10)]
    maps = []
    for key in runs[0].arrays:
        stack = np.stack([run.arrays[key].ravel() for run in runs]).astype(float)
        maps.append(np.nanmean(np.where(np.isfinite(stack), stack, np.nan), axis=0))
    return float(np.nanmean(np.concatenate(maps)))


def lines(name: str, model: torch.nn.Module, data: object, preset: str) -> list[str]:
    """Return the two rows of one network."""
    result = measured(model, data.images, preset)  # type: ignore[attr-defined]
    rows, published = list(result.rows), PUBLISHED[name]
    around = interval(rows)
    both = f"{overall(rows):.3f} ({around.low:.3f} to {around.high:.3f})"
    by_class = class_conditional(model, data, preset)
    return [
        f"| {name} | {preset} | global | {both} | {published[0]:.3f} |",
        f"| {name} | {preset} | class-conditional | {by_class:.3f} | {published[1]:.3f} |",
    ]


def main() -> None:
    """Measure the networks and print the comparison."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--presets", nargs="+", default=["quiroga2019"])
    arguments = parser.parse_args()
    data = load("mnist", split="test", data_dir=arguments.data_dir)
    text = ["| trained | preset | | ours (95 % interval) | published |", "| --- | --- | --- | --- | --- |"]
    for name in arguments.names:
        model, card = load_network(arguments.networks / name)
        print(name, card)
        for preset in arguments.presets:
            text += lines(name, model, data, preset)
    command_line.publish("\n".join(text), arguments.out)


if __name__ == "__main__":
    main()
