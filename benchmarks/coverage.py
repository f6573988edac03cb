"""How often 95 % intervals hold the value of the population, by measure, number of samples and kind of unit.

    python -m benchmarks.coverage [--draws 2000] [--kinds relu ...] [--measures anova ...] [--counts FILE]
    python -m benchmarks.coverage --join FILE ... --out PAGE

Responses are simulated, not those of a network: a layer of 4 channels of 3 × 3 units, 4 elements, of which
the first changes nothing, and as many noisy versions. They go through the measures' own statistics, jackknife
groups and formulas. The population's value is that of a very large sample; where sparse units are left out of
a mean, it is the population's mean over the units that were kept. "none" stands where no interval is issued.
Measures that are slow to compute are simulated at one number of samples alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import invariscope as iv
from invariscope.engine.acting import acting_elements
from invariscope.engine.order import pair_numbers
from invariscope.measures.base import ElementValues, LayerContext, LayerValues, Measure, UnitValues
from invariscope.measures.noise_probes import EqualNoise
from invariscope.statistics.base import Block, Membership, Statistic
from invariscope.statistics.pairs import partners
from invariscope.uncertainty import GROUPS, MIN_PER_GROUP, jackknife

SHAPE, ELEMENTS = (4, 3, 3), 4
CLASSES = 2
LOW, HIGH = 0.92, 0.97
_LARGE, _PART = 40_000, 2_000
_TURNS = iv.QuarterTurns()

Final = Mapping[Statistic, Any]


@dataclass(frozen=True)
class Simulated:
    """Responses (sample, element and noisy version, unit...) and the class of each sample."""

    responses: np.ndarray
    labels: np.ndarray


def _scales() -> np.ndarray:
    return np.linspace(0.2, 1.0, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)


def _thresholds(kind: str) -> np.ndarray:
    """What a unit's drive must exceed: at 2, about 1 in 20 samples fires."""
    units = int(np.prod(SHAPE))
    rare = np.linspace(0.8, 2.4, units).reshape(SHAPE)
    if kind == "sparse":
        return rare
    return np.where(np.arange(units).reshape(SHAPE) % 2 == 0, rare, 0.0)


def _linear(rng: np.random.Generator, base: np.ndarray, labels: np.ndarray) -> np.ndarray:
    away = rng.standard_normal((len(base), 2 * ELEMENTS, *SHAPE), dtype=np.float32)
    away[:, 0] = 0
    turned = np.array([0.0, 0.3, 0.6, 0.3], np.float32)[:, None, None, None] * _scales()
    drive = base + 0.7 * (labels[:, None] * 2 - 1)[..., None, None, None] * _scales()[None, ::-1]
    values = drive + _scales() * away
    values[:, :ELEMENTS] += turned  # what the transformation does to all samples alike
    return values


def _normal(rng: np.random.Generator, samples: int) -> np.ndarray:
    return rng.standard_normal((samples, 1, *SHAPE), dtype=np.float32)


def _heavy(rng: np.random.Generator, samples: int) -> np.ndarray:
    return (rng.standard_t(5, (samples, 1, *SHAPE)) / (5 / 3) ** 0.5).astype(np.float32)


def _rectified(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    least = (0.0 if kind == "relu" else _thresholds(kind)) * np.ones(SHAPE)
    return lambda values: np.maximum(values - least.astype(np.float32), 0)


# Kind of unit: how samples differ, and what becomes of the drive.
KINDS: dict[str, tuple[Callable[..., np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "linear": (_normal, lambda values: values),
    "relu": (_normal, _rectified("relu")),
    "heavy": (_heavy, lambda values: values),
    "mixed": (_normal, _rectified("mixed")),
    "sparse": (_normal, _rectified("sparse")),
}


def simulated(kind: str, rng: np.random.Generator, samples: int) -> Simulated:
    """A draw of so many samples."""
    base, shaped = KINDS[kind]
    labels = rng.integers(0, CLASSES, samples)
    return Simulated(shaped(_linear(rng, base(rng, samples), labels)), labels)


# Name: the measure, and the same without its limit on the number of samples, for the population.
MEASURES: dict[str, tuple[Measure, Measure | None]] = {
    "normalized_variance": (iv.NormalizedVariance(), None),
    "anova": (iv.Anova(), None),
    "same_equivariance": (iv.SameEquivariance(), None),
    "normalized_distance": (iv.NormalizedDistance(), None),
    "normalized_distance:cosine": (iv.NormalizedDistance(distance="cosine"), None),
    "stability": (iv.Stability(), None),
    "stability:median": (
        iv.Stability(average="median"),
        iv.Stability(average="median", subset=2500),
    ),
    "equivariance_deviation": (iv.EquivarianceDeviation(), None),
    "equivariance_error": (iv.EquivarianceError(feature_action="trivial"), None),
    "worst_element": (iv.WorstElement(), None),
    "information": (iv.Information(), iv.Information(pilot=20_000)),
    "cka": (iv.CKA(), iv.CKA(samples=3000)),
    "consistency": (iv.Consistency(), None),
    "prediction": (iv.Prediction(), None),
    "twirl": (iv.Twirl(), None),
}
# At how many samples alone these are simulated.
DEAR = {"cka": 128, "same_equivariance": 128}
_SKIPPED = {"by_element", "tail_by_element", "largest", "element", "channels", "label", "transform"}


def block_of(drawn: Simulated, lo: int, hi: int, *, output: bool, plain: bool = False) -> Block:
    """The samples lo to hi as the engine would forward them.

    Args:
        output: the first units alone, as scores of classes.
        plain: the untransformed inputs alone, as a pilot sees them.
    """
    few = drawn.responses[lo:hi, : 1 if plain else None]
    few = few.reshape(*few.shape[:2], -1)[:, :, 9 : 9 + CLASSES] if output else few
    count, width = few.shape[:2]
    positions = np.arange(lo, hi)
    groups = positions // 2 % GROUPS + (0 if plain else GROUPS * drawn.labels[lo:hi])
    noise = {} if plain else {EqualNoise().name: tuple(range(ELEMENTS, width))}
    return Block(
        values=torch.from_numpy(np.ascontiguousarray(few)).flatten(0, 1),
        samples=count,
        elements=1 if plain else ELEMENTS,
        sample_step=width,
        element_step=1,
        membership=Membership(groups[:, None]),
        indices=positions,
        labels=torch.from_numpy(drawn.labels[lo:hi]),
        positions=positions,
        sizes=np.full(count, len(drawn.labels)),
        probes={"identity": (0,)} | noise,
        partners=partners(count),
        total=len(drawn.labels),
        act=lambda maps, indices, keys, inverse: _TURNS.act(maps, inverse=inverse),
        acting=acting_elements(_TURNS, seed=0),
        input_shape=SHAPE,
    )


def states_of(measures: Iterable[Measure], drawn: Simulated, samples: int) -> dict[Statistic, Any]:
    """The states of all statistics that the measures need, fed with the first so many samples."""
    states: dict[Statistic, Any] = {}
    parts = [(lo, min(lo + _PART, samples)) for lo in range(0, samples, _PART)]
    for measure in measures:
        output = measure.scope == "output"
        for statistic in measure.statistics():
            if statistic not in states:
                states[statistic] = _state(statistic, drawn, parts, output)
    return states


def _state(statistic: Statistic, drawn: Simulated, parts: list[tuple[int, int]], output: bool) -> Any:
    pilot, state = None, None
    if statistic.pilot is not None:
        for lo, hi in parts:
            block = block_of(drawn, lo, hi, output=output, plain=True)
            state = state or statistic.pilot.init(block, buckets=GROUPS)
            statistic.pilot.update(state, block)
        pilot, state = statistic.pilot.finalize(state, [list(range(GROUPS))]), None
    for lo, hi in parts:
        block = block_of(drawn, lo, hi, output=output)
        if state is None:
            first = block_of(drawn, 0, 16, output=output)
            state = statistic.init(first, buckets=CLASSES * GROUPS, pilot=pilot)
        statistic.update(state, block)
    return state


def members(stratum: int | None) -> list[list[int]]:
    """Buckets by group, of one class or of all."""
    classes = range(CLASSES) if stratum is None else [stratum]
    return [[GROUPS * c + g for c in classes] for g in range(GROUPS)]


def outputs_of(measure: Measure, states: Final, stratum: int | None, *, whole: bool) -> dict[str, Any]:
    """The measure's values, with those that leave out a group unless only the whole matters."""
    groups = members(stratum)
    groups = [[bucket for group in groups for bucket in group]] if whole else groups
    finals = tuple(s.finalize(states[s], groups) for s in measure.statistics())
    found = measure.evaluate(finals, LayerContext("layer", 0, SHAPE, input_shape=SHAPE))
    return {name: values for name, values in found.items() if name not in _SKIPPED}


@dataclass(frozen=True)
class Row:
    """A value with those that leave out a group, the population's, and why it can have no interval."""

    replicates: np.ndarray
    truth: float
    uncovered: str = ""
    reach: float = 1.0


def rows_of(
    measure: Measure, found: Mapping[str, Any], truth: Mapping[str, Any]
) -> Iterator[tuple[str, Row]]:
    """The rows of the result's table that can have an interval."""
    for name, values in found.items():
        if name in measure.single or name not in truth:
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
            yield name, Row(values.values.mean(axis=1), float(known.values[0].mean()), values.uncovered)


def covered(measure: Measure, name: str, row: Row, sizes: np.ndarray) -> bool | None:
    """Whether the interval holds the population's value; None where none is issued."""
    if row.uncovered or len(row.replicates) < 2 or sizes.min() < MIN_PER_GROUP or not np.isfinite(row.truth):
        return None
    found = jackknife(float(row.replicates[0]), row.replicates[1:].tolist(), sizes.tolist(), reach=row.reach)
    if not np.isfinite(found.low):
        return None
    low, high = measure.bounds(name.removesuffix("ratio").strip())
    return bool(max(found.low, low) <= row.truth <= min(found.high, high))


def by_class(measure: Measure, states: Final, truths: list[Any]) -> Iterator[tuple[str, Row]]:
    """The mean over classes."""
    parts = [
        dict(rows_of(measure, outputs_of(measure, states, c, whole=False), truths[c])) for c in range(CLASSES)
    ]
    for name in parts[0]:
        stacked = np.stack([part[name].replicates for part in parts])
        rare = next((part[name].uncovered for part in parts if part[name].uncovered), "")
        yield (
            name,
            Row(
                stacked.mean(axis=0),
                float(np.mean([part[name].truth for part in parts])),
                rare,
                max(part[name].reach for part in parts),
            ),
        )


@dataclass(frozen=True)
class Population:
    """Values of a very large sample: of all, and of each class."""

    whole: Mapping[str, Mapping[str, Any]]
    classes: Mapping[str, list[Mapping[str, Any]]]

    def of(self, names: Iterable[str]) -> Population:
        """Of some measures alone."""
        return Population({name: self.whole[name] for name in names}, self.classes)


def _with_all_units(measure: Any) -> Measure:
    """The measure without a rule against sparse units, which a very large sample does not need."""
    return replace(measure, min_firing=0) if hasattr(measure, "min_firing") else measure


def population(kind: str, names: Iterable[str]) -> Population:
    """What every draw of that kind estimates."""
    rng, names = np.random.default_rng(99), list(names)
    exact = {name: MEASURES[name][1] or MEASURES[name][0] for name in names}
    exact = {name: _with_all_units(measure) for name, measure in exact.items()}
    drawn = simulated(kind, rng, _LARGE)
    states = states_of(exact.values(), drawn, _LARGE)
    layers = {name for name, m in exact.items() if m.scope == "layers"}
    return Population(
        {name: outputs_of(m, states, None, whole=True) for name, m in exact.items()},
        {name: [outputs_of(exact[name], states, c, whole=True) for c in range(CLASSES)] for name in layers},
    )


@dataclass
class Tally:
    """How many draws, in how many of them an interval was issued, and how many of those cover."""

    draws: int = 0
    issued: int = 0
    hits: int = 0

    def add(self, hit: bool | None) -> None:
        """Counts a draw."""
        self.draws += 1
        self.issued += hit is not None
        self.hits += bool(hit)

    def __str__(self) -> str:
        if self.issued < max(100, self.draws // 100):
            return "none"
        share = self.hits / self.issued
        text = f"{100 * share:.1f} ± {100 * (share * (1 - share) / self.issued) ** 0.5:.1f}"
        text += "" if self.issued == self.draws else f" ({self.issued / self.draws:.0%} issued)"
        return text if LOW <= share <= HIGH else f"**{text}**"


Tallies = dict[tuple[str, str], Tally]


def simulate(kind: str, samples: int, known: Population, draws: int, *, seed: int = 7) -> Tallies:
    """The tally of every row, at that number of samples; with classes where that is enough for them."""
    rng, tallies = np.random.default_rng((seed, samples)), defaultdict(Tally)
    chosen = {name: MEASURES[name][0] for name in known.whole}
    for _ in range(draws):
        drawn = simulated(kind, rng, samples)
        states = states_of(chosen.values(), drawn, samples)
        sizes = np.bincount(pair_numbers(samples) % GROUPS, minlength=GROUPS)
        cells = np.bincount(
            pair_numbers(samples) % GROUPS + GROUPS * drawn.labels, minlength=CLASSES * GROUPS
        )
        for name, measure in chosen.items():
            found = outputs_of(measure, states, None, whole=False)
            for output, row in rows_of(measure, found, known.whole[name]):
                tallies[name, output].add(covered(measure, output, row, sizes))
            if measure.scope == "layers" and samples >= 2 * CLASSES * GROUPS * MIN_PER_GROUP:
                usable = cells.min() >= MIN_PER_GROUP
                for output, row in by_class(measure, states, known.classes[name]):
                    hit = covered(measure, output, row, sizes) if usable else None
                    tallies[name, f"{output} (mean of classes)".strip()].add(hit)
    return tallies


def table(found: Mapping[tuple[str, int], Tallies]) -> str:
    """Rows: measure and output × samples. Columns: kinds of unit."""
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    sizes = sorted({size for _, size in found})
    rows = dict.fromkeys(key for tallies in found.values() for key in tallies)
    lines = [f"| measure | samples | {' | '.join(kinds)} |", "| --- | --- |" + " --- |" * len(kinds)]
    for name, output in rows:
        for size in sizes:
            cells = [str(found.get((kind, size), {}).get((name, output), "")) for kind in kinds]
            if any(cells):
                lines.append(f"| {f'{name} {output}'.strip()} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulates every kind at every size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    parser.add_argument("--measures", nargs="+", choices=[*MEASURES], default=[*MEASURES])
    parser.add_argument("--counts", type=Path, help="keep what was counted, for --join")
    parser.add_argument("--join", type=Path, nargs="+", help="make the page of these, and simulate nothing")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = joined(arguments.join) if arguments.join else everything(arguments)
    if arguments.counts:
        arguments.counts.write_text(json.dumps(counted(found)), encoding="utf-8")
    report = table(found)
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n", encoding="utf-8")


def everything(arguments: argparse.Namespace) -> dict[tuple[str, int], Tallies]:
    """Simulates every kind at every size."""
    found = {}
    for kind in arguments.kinds:
        known = population(kind, arguments.measures)
        for size in arguments.sizes:
            chosen = [name for name in arguments.measures if DEAR.get(name, size) == size]
            started = time.process_time()
            found[kind, size] = simulate(kind, size, known.of(chosen), arguments.draws)
            print(f"{kind}, {size}: {time.process_time() - started:.0f} s", flush=True)
            if arguments.counts:
                arguments.counts.write_text(json.dumps(counted(found)), encoding="utf-8")
    return found


def counted(found: Mapping[tuple[str, int], Tallies]) -> list[list[Any]]:
    """The tallies as plain data."""
    return [[*where, *key, *vars(tally).values()] for where, t in found.items() for key, tally in t.items()]


def joined(files: Iterable[Path]) -> dict[tuple[str, int], Tallies]:
    """The tallies of several runs."""
    found: dict[tuple[str, int], Tallies] = defaultdict(dict)
    for file in files:
        for kind, size, name, output, *counts in json.loads(file.read_text(encoding="utf-8")):
            found[kind, size][name, output] = Tally(*counts)
    return found


if __name__ == "__main__":
    main()
