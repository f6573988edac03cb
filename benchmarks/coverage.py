"""Simulate the coverage of 95 % intervals by measure, number of samples and kind of data.

    python -m benchmarks.coverage [--data-dir FOLDER] [--draws 2000] [--kinds relu ...] [--counts FILE]
    python -m benchmarks.coverage --join FILE ... --out PAGE

Samples are drawn from populations with known values (`benchmarks.populations`). Groups and partners are
assigned by rank, as in the engine. Values that are functions of sums over samples are computed for many draws
at once (`benchmarks.coverage_sums`; `--check` compares them with the measures). With `--measures`, the
measures' own statistics process one draw after the other; slow measures and means over classes are then
simulated at 256 samples only. If sparse units are left out of a mean, the true value is the mean of the
population over the remaining units. The kinds "real ..." need the MNIST files in the folder `--data-dir`.
`--join` adds up runs with different seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import invariscope as iv
from benchmarks import command_line
from benchmarks.coverage_draws import KINDS, Sample, Simulation, drawn
from benchmarks.coverage_page import Tallies, Tally, page
from benchmarks.coverage_sums import Additive
from benchmarks.populations import real, simulated
from invariscope.intervals import GROUPS, MIN_PER_GROUP, jackknife
from invariscope.measures.base import Measure
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, UnitValues
from invariscope.statistics.base import Statistic

SIZES = (64, 256, 1024)

Final = Mapping[Statistic, Any]
# Each measure, and a variant without a limit on the number of samples, which is used for the population.
MEASURES: dict[str, tuple[Measure, Measure | None]] = {
    "normalized_variance": (iv.NormalizedVariance(), None),
    "transformation_variance": (iv.TransformationVariance(), None),
    "sample_variance": (iv.SampleVariance(), None),
    "anova": (iv.Anova(), None),
    "normalized_distance": (iv.NormalizedDistance(), None),
    "normalized_distance:cosine": (iv.NormalizedDistance(distance="cosine"), None),
    "stability": (iv.Stability(), None),
    "stability:median": (
        iv.Stability(average="median"),
        iv.Stability(average="median", subset=2500),
    ),
    "equivariance_deviation": (iv.EquivarianceDeviation(), None),
    "equivariance_deviation:l2": (iv.EquivarianceDeviation(distance="l2"), None),
    "equivariance_error": (iv.EquivarianceError(feature_action="trivial"), None),
    "same_equivariance": (iv.SameEquivariance(), None),
    "worst_element": (iv.WorstElement(), None),
    "information": (iv.Information(), iv.Information(pilot=20_000)),
    "cka": (iv.CKA(), iv.CKA(samples=3000)),
    "consistency": (iv.Consistency(), None),
    "prediction": (iv.Prediction(), None),
    "twirl": (iv.Twirl(), None),
}
# Slow measures, with the only number of samples at which they are simulated.
DEAR = dict.fromkeys(
    ("same_equivariance", "information", "cka", "normalized_distance:cosine", "stability:median"), 256
)
# Measures that are functions of sums over samples, which many draws share.
SUMMED = (
    *("normalized_variance", "transformation_variance", "anova", "stability", "equivariance_deviation"),
    *("equivariance_error", "worst_element", "consistency", "prediction", "twirl"),
)
_AT_ONCE = 100
# Number of samples at which means over classes are simulated, for populations of two classes.
BY_CLASS = 256
_SKIPPED = {"by_element", "tail_by_element", "tail", "largest", "element", "channels", "label", "transform"}


def outputs_of(
    measure: Measure, states: Final, sample: Sample, stratum: int | None = None, *, whole: bool = False
) -> dict[str, Any]:
    """Return the values of a measure, including the leave-one-group-out values unless `whole` is set."""
    classes = range(sample.classes) if stratum is None else [stratum]
    groups = [[GROUPS * c + g for c in classes] for g in range(GROUPS)]
    groups = [[bucket for group in groups for bucket in group]] if whole else groups
    finals = tuple(s.finalize(states[s], groups) for s in measure.statistics())
    shape = sample.population.shape
    found = measure.evaluate(finals, LayerContext("layer", 0, shape, input_shape=shape, identity=0))
    return {name: values for name, values in found.items() if name not in _SKIPPED}


@dataclass(frozen=True)
class Row:
    """A value, its leave-one-group-out values, the true value, and reasons against an interval."""

    replicates: np.ndarray
    truth: float
    uncovered: str = ""
    reach: float = 1.0


def rows_of(
    measure: Measure, found: Mapping[str, Any], truth: Mapping[str, Any]
) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a result that can have an interval."""
    for name, values in found.items():
        if name not in truth or not measure.output(name).interval:
            continue
        known = truth[name]
        if isinstance(values, UnitValues):
            kept = values.counted & np.isfinite(known.values[0])
            mean = float(known.values[0][kept].mean()) if kept.any() else float("nan")
            yield name, Row(values.layer_values(), mean, values.uncovered, values.reach)
            if values.ratio is not None and known.ratio is not None:
                yield f"{name} ratio".strip(), Row(values.ratio, float(known.ratio[0]), reach=values.reach)
        elif isinstance(values, LayerValues):
            yield name, Row(values.values, float(known.values[0]), values.uncovered, values.reach)
        elif isinstance(values, ElementValues):
            true = float(known.layer_values()[0])
            yield name, Row(values.layer_values(), true, values.uncovered)


def covered(measure: Measure, name: str, row: Row, sample: Sample) -> bool | None:
    """Return whether the interval covers the true value, or None if no interval is issued."""
    if row.uncovered or sample.independent < MIN_PER_GROUP or not np.isfinite(row.truth):
        return None
    sizes = sample.sizes.tolist()
    found = jackknife(float(row.replicates[0]), row.replicates[1:].tolist(), sizes, reach=row.reach)
    if not np.isfinite(found.low):
        return None
    low, high = measure.output(name.removesuffix("ratio").strip()).range
    return bool(max(found.low, low) <= row.truth <= min(found.high, high))


def by_class(measure: Measure, states: Final, sample: Sample, truths: list[Any]) -> Iterator[tuple[str, Row]]:
    """Yield the rows of the mean over classes."""
    parts = [
        dict(rows_of(measure, outputs_of(measure, states, sample, c), truths[c]))
        for c in range(sample.classes)
    ]
    for name in parts[0]:
        rows = [part[name] for part in parts]
        values = np.stack([row.replicates for row in rows]).mean(axis=0)
        rare = next((row.uncovered for row in rows if row.uncovered), "")
        truth = float(np.mean([row.truth for row in rows]))
        yield name, Row(values, truth, rare, max(row.reach for row in rows))


@dataclass(frozen=True)
class Truth:
    """True values of a population, over all samples and per class."""

    whole: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, list[Mapping[str, Any]]]


def truth_of(simulation: Simulation, names: Iterable[str]) -> Truth:
    """Return the true values that draws estimate. No unit of a population counts as sparse."""
    whole, classes, everyone = {}, {}, simulation.everything()
    for name in names:
        measure: Any = MEASURES[name][1] or MEASURES[name][0]
        measure = replace(measure, min_firing=0) if hasattr(measure, "min_firing") else measure
        states = simulation.states([measure], everyone)
        whole[name] = outputs_of(measure, states, everyone, whole=True)
        if measure.scope == "layers" and everyone.classes == 2:
            classes[name] = [outputs_of(measure, states, everyone, c, whole=True) for c in range(2)]
    return Truth(whole, classes)


def simulate(
    simulation: Simulation, samples: int, known: Truth, names: Iterable[str], draws: int, *, seed: int
) -> Tallies:
    """Return the tally of every row at one number of samples."""
    rng, tallies = np.random.default_rng((seed, samples)), defaultdict(Tally)
    chosen = {name: MEASURES[name][0] for name in names}
    nested = samples == BY_CLASS and simulation.population.classes == 2
    for _ in range(draws):
        sample = drawn(simulation.kind, simulation.population, samples, rng, nested=nested)
        states = simulation.states(chosen.values(), sample)
        merged = replace(sample, nested=False)  # group sizes are then those of all classes together
        for name, measure in chosen.items():
            found = outputs_of(measure, states, sample)
            for output, row in rows_of(measure, found, known.whole[name]):
                tallies[name, output].add(covered(measure, output, row, merged))
            if nested and name in known.classes:
                for output, row in by_class(measure, states, sample, known.classes[name]):
                    label = f"{output} (mean of classes)".strip()
                    tallies[name, label].add(covered(measure, output, row, sample))
    return dict(tallies)


def together(
    simulation: Simulation, additive: Additive, samples: int, known: Truth, draws: int, *, seed: int
) -> Tallies:
    """Return the tallies of values that are functions of sums; many draws are computed at once."""
    rng, tallies = np.random.default_rng((seed, samples)), defaultdict(Tally)
    for first in range(0, draws, _AT_ONCE):
        several = [
            drawn(simulation.kind, simulation.population, samples, rng, nested=False)
            for _ in range(min(_AT_ONCE, draws - first))
        ]
        usable = np.array([one.independent >= MIN_PER_GROUP for one in several])
        for key, values in additive.draws(several).rows_of(known.whole):
            issued, hits = values.existing() & usable, values.hits() & usable
            tallies[key].add_all(len(several), int(issued.sum()), int(hits.sum()))
    return dict(tallies)


def check(simulation: Simulation, additive: Additive, samples: int, known: Truth) -> float:
    """Return the largest relative difference between values from sums and those of the measures."""
    rng, worst = np.random.default_rng(samples), 0.0
    for _ in range(3):
        sample = drawn(simulation.kind, simulation.population, samples, rng, nested=False)
        measures = {name: MEASURES[name][0] for name in SUMMED}
        states = simulation.states(measures.values(), sample)
        for (name, output), values in additive.draws([sample]).rows_of(known.whole):
            found = outputs_of(measures[name], states, sample)
            row = dict(rows_of(measures[name], found, known.whole[name]))[output]
            there = not row.uncovered and np.isfinite([row.truth, *row.replicates]).all()
            assert bool(values.existing()[0]) == there, f"{name} {output}: {row.uncovered}"
            if not there:
                continue
            ours = np.array([np.max(values.reach), np.max(values.truth), *values.replicates[0]])
            theirs = np.array([row.reach, row.truth, *row.replicates])
            worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return worst


def main() -> None:
    """Simulate every kind of data at every number of samples."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument(
        "--seed", type=int, default=7, help="seed of the draws; runs with different seeds can be joined"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    parser.add_argument(
        "--measures",
        nargs="+",
        choices=[*MEASURES],
        help="measures to simulate one draw at a time; default: many draws at once",
    )
    parser.add_argument("--check", action="store_true", help="compare values from sums with the measures")
    parser.add_argument("--data-dir", type=Path, help="folder with the MNIST files, for real activations")
    parser.add_argument("--counts", type=Path, help="file for the tallies, for --join")
    parser.add_argument("--join", type=Path, nargs="+", help="create the page from these files only")
    arguments = parser.parse_args()
    if arguments.data_dir is None and not arguments.join and any("real" in k for k in arguments.kinds):
        parser.error("real activations need --data-dir, a folder with the files of MNIST")
    torch.set_num_threads(1)
    found = joined(arguments.join) if arguments.join else everything(arguments)
    if arguments.out:
        arguments.out.write_text(page(found) + "\n", encoding="utf-8")


def everything(arguments: argparse.Namespace) -> dict[tuple[str, int], Tallies]:
    """Simulate every kind of data at every number of samples, and save the tallies after each."""
    found: dict[tuple[str, int], Tallies] = {}
    for name in arguments.kinds:
        kind = KINDS[name]
        real_one = kind.population.startswith("real")
        data = real(kind.population, arguments.data_dir) if real_one else simulated(kind.population)
        simulation, started = Simulation(kind, data), time.process_time()
        wanted = arguments.measures or SUMMED
        known = truth_of(simulation, wanted)
        additive = None if arguments.measures else Additive(data, simulation.table, clustered=kind.clusters)
        print(f"{name}: true values took {time.process_time() - started:.0f} s", flush=True)
        for size in arguments.sizes:
            started = time.process_time()
            if arguments.check and additive is not None:
                print(f"{name}, {size}: {check(simulation, additive, size, known):.1e}", flush=True)
                continue
            found[name, size] = _tallies(simulation, additive, size, known, arguments)
            print(f"{name}, {size}: {time.process_time() - started:.0f} s", flush=True)
            if arguments.counts:
                arguments.counts.write_text(json.dumps(counted(found)), encoding="utf-8")
        simulated.cache_clear()
    return found


def _tallies(
    simulation: Simulation, additive: Additive | None, size: int, known: Truth, arguments: argparse.Namespace
) -> Tallies:
    draws, seed = arguments.draws, arguments.seed
    if additive is not None:
        return together(simulation, additive, size, known, draws, seed=seed)
    chosen = [name for name in arguments.measures if DEAR.get(name, size) == size]
    return simulate(simulation, size, known, chosen, draws, seed=seed) if chosen else {}


def counted(found: Mapping[tuple[str, int], Tallies]) -> list[list[Any]]:
    """Return the tallies as plain data."""
    return [[*where, *key, *vars(tally).values()] for where, t in found.items() for key, tally in t.items()]


def joined(files: Iterable[Path]) -> dict[tuple[str, int], Tallies]:
    """Return the summed tallies of several runs."""
    found: dict[tuple[str, int], Tallies] = defaultdict(lambda: defaultdict(Tally))
    for file in files:
        for kind, size, name, output, *counts in json.loads(file.read_text(encoding="utf-8")):
            known = found[kind, size][name, output]
            found[kind, size][name, output] = Tally(
                *(a + b for a, b in zip(vars(known).values(), counts, strict=True))
            )
    return found


if __name__ == "__main__":
    main()
