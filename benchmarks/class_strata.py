"""Compare a class measured within a run with the same class measured alone.

    python -m benchmarks.class_strata [--seeds 3] [--out FILE]

Responses are simulated: five classes of 70, 2, 13, 4 and 71 samples, 4 elements, 3 channels of 2 × 2 units.
The classes are up to a thousand standard deviations apart. In one of them, a channel is dead, one unit
depends only on the element, and one equals its bias for all but two samples. The measures' own statistics
process the samples in several orders, class numberings and batch sizes, in merged shards, and with saved and
reloaded states. The largest relative differences of layer values, maps and nulls are printed; counts of units
must be equal.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import invariscope as iv
from benchmarks import command_line
from invariscope.block import Block, Membership
from invariscope.intervals import GROUPS
from invariscope.measures.base import Measure
from invariscope.measures.values import LayerContext, LayerValues, UnitValues
from invariscope.statistics.base import Statistic

SIZES = (70, 2, 13, 4, 71)  # from 64 samples on, the 2019 code has more than one window
ELEMENTS, SHAPE = 4, (3, 2, 2)
PRECISIONS = {"float32": np.float32, "float64": np.float64}
DISTANCES = ("sqeuclidean", "euclidean", "cosine")
FAMILY = {
    "transformation_variance": iv.TransformationVariance,
    "sample_variance": iv.SampleVariance,
    "normalized_variance": iv.NormalizedVariance,
}
MEASURES: dict[str, Measure] = {
    **{
        f"{title}, {spread}": cls(spread=spread)
        for title, cls in FAMILY.items()
        for spread in ("variance", "std")
    },
    **{
        f"normalized_variance, {preset}": iv.NormalizedVariance(preset=preset)
        for preset in ("tmeasures", "quiroga2019", "quiroga2019_full")
    },
    **{f"normalized_variance, pool={pool}": iv.NormalizedVariance(pool=pool) for pool in ("after", "ratio")},
    "normalized_variance, norm=total": iv.NormalizedVariance(norm="total"),
    "anova": iv.Anova(),
    "anova, greenhouse_geisser": iv.Anova(sphericity="greenhouse_geisser"),
    **{f"normalized_distance, {kind}": iv.NormalizedDistance(distance=kind) for kind in DISTANCES},
    **{f"sample_distance, {kind}": iv.SampleDistance(distance=kind) for kind in DISTANCES},
}


@dataclass(frozen=True)
class Walk:
    """One way to process the samples.

    Args:
        order: "stored", "reversed" or "by class".
        names: the label number of each class.
        batch: samples per block.
        nested: whether classes have jackknife groups of their own.
        shards: number of states that are merged.
        resumed: whether states are saved and reloaded during the run.
    """

    order: str = "stored"
    names: tuple[int, ...] = (0, 1, 2, 3, 4)
    batch: int = 16
    nested: bool = True
    shards: int = 1
    resumed: bool = False


WALKS = {
    "as stored": Walk(),
    "sorted by class": Walk(order="by class"),
    "reversed": Walk(order="reversed"),
    "classes renamed": Walk(names=(3, 0, 4, 2, 1)),
    "batches of 3": Walk(batch=3),
    "batches of 64": Walk(batch=64),
    "crossed buckets": Walk(nested=False, order="by class"),
    "three shards, merged": Walk(batch=5, shards=3),
    "interrupted and resumed": Walk(batch=7, nested=False, resumed=True),
}


@dataclass(frozen=True)
class Drawn:
    """Responses (sample, element, unit...) and the class of each sample."""

    responses: np.ndarray
    labels: np.ndarray


def drawn(seed: int, precision: str) -> Drawn:
    """Draw the simulated responses of five classes that differ in size, offset and kind of units."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    away = (len(SIZES), 1, *SHAPE)
    far = 10.0 ** rng.uniform(-1, 3, away) * rng.choice([-1, 1], away)
    noise = 10.0 ** rng.uniform(-2, 0, SHAPE) * rng.normal(size=(len(labels), ELEMENTS, *SHAPE))
    found = far[labels] + noise + rng.normal(size=(len(labels), 1, *SHAPE))
    odd = np.flatnonzero(labels == 2)
    found[odd, :, 0] = 0.3
    found[odd, :, 1, 0, 0] = np.arange(1, ELEMENTS + 1) / 10
    found[odd, :, 1, 0, 1] = 0.25
    found[odd[[7, 9]], 1:3, 1, 0, 1] = 0.5
    mixed = rng.permutation(len(labels))
    return Drawn(found[mixed].astype(PRECISIONS[precision]), labels[mixed])


def blocks_of(data: Drawn, walk: Walk, indices: np.ndarray) -> Iterator[Block]:
    """Yield the blocks of a walk over the samples at these positions."""
    labels = data.labels[indices]
    orders = {"stored": slice(None), "reversed": slice(None, None, -1)}
    order = np.argsort(labels, kind="stable") if walk.order == "by class" else orders[walk.order]
    places, strata = np.arange(len(labels)), np.array(walk.names)[labels]
    group = places // 2 % GROUPS
    ranks = np.array([np.sum(labels[:i] == labels[i]) for i in places])
    sizes = np.bincount(labels, minlength=len(SIZES))[labels]
    if walk.nested:
        buckets, numbers = (strata * GROUPS + group)[:, None], strata[:, None]
    else:
        buckets = np.stack([group, GROUPS + strata], axis=1)
        numbers = np.stack([np.zeros_like(strata), 1 + strata], axis=1)
    for few in np.split(places[order], range(walk.batch, len(labels), walk.batch)):
        values = torch.from_numpy(data.responses[indices[few]]).flatten(0, 1)
        steps = {"samples": len(few), "elements": ELEMENTS, "sample_step": ELEMENTS, "element_step": 1}
        membership = Membership(buckets[few], numbers[few])
        strata_of = {"ranks": ranks[few], "sizes": sizes[few], "total": len(labels)}
        yield Block(values=values, membership=membership, indices=indices[few], **steps, **strata_of)


def state_of(statistic: Statistic, blocks: list[Block], walk: Walk) -> Any:
    """Return the state of a statistic that has processed all samples, merged from the shards."""
    buckets = GROUPS * len(SIZES) if walk.nested else GROUPS + len(SIZES)
    shares = []
    for share in range(walk.shards):
        mine = list(itertools.islice(blocks, share, None, walk.shards))
        state = statistic.init(mine[0], buckets=buckets)
        for number, block in enumerate(mine):
            statistic.update(state, block)
            if walk.resumed and number % 3 == 0:
                state = statistic.unpack({k: np.array(part) for k, part in statistic.pack(state).items()})
        shares.append(state)
    return functools.reduce(statistic.merge, shares)


def values_of(measure: Measure, states: dict[Statistic, Any], buckets: list[int]) -> dict[str, Any]:
    """Return the values of a measure over these buckets."""
    finals = tuple(s.finalize(states[s], [buckets]) for s in measure.statistics())
    return dict(measure.evaluate(finals, LayerContext("drawn", 0, SHAPE)))


def buckets_of(walk: Walk, label: int) -> list[int]:
    """Return the buckets of a class."""
    number = walk.names[label]
    return [number * GROUPS + g for g in range(GROUPS)] if walk.nested else [GROUPS + number]


def numbers_of(values: UnitValues | LayerValues) -> np.ndarray:
    """Return the layer's value, the value of every unit, and the null."""
    if isinstance(values, LayerValues):
        return np.array([values.values[0], values.null])
    null = [] if values.null is None else [np.ravel(values.null)]
    return np.concatenate([values.layer_values()[:1], values.values[0].ravel(), *null])


def counts_of(values: UnitValues | LayerValues) -> tuple:
    """Return the numbers of units left out, by reason."""
    if isinstance(values, LayerValues):
        return (values.undefined,)
    return values.units, values.dead, values.sparse, values.infinite, values.counted.tobytes()


def difference(found: np.ndarray, right: np.ndarray) -> float:
    """Return the largest relative difference, which is infinite if only one of two values is finite."""
    same = (found == right) | (np.isnan(found) & np.isnan(right))
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.where(same, 0.0, np.abs(found - right) / np.abs(right))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())


@dataclass(frozen=True)
class Worst:
    """The largest relative difference, and the number of classes with different counts of units."""

    apart: float = 0.0
    other: int = 0

    def and_of(self, found: dict[str, Any], right: dict[str, Any]) -> Worst:
        """Return the worst differences after including another class."""
        apart = max(difference(numbers_of(found[k]), numbers_of(right[k])) for k in right)
        other = any(counts_of(found[k]) != counts_of(right[k]) for k in right)
        return Worst(max(self.apart, apart), self.other + other)


def compared(seeds: int) -> dict[tuple[str, str, str], Worst]:
    """Return the worst difference by measure, walk and precision."""
    worst: dict[tuple[str, str, str], Worst] = {}
    statistics = {s for measure in MEASURES.values() for s in measure.statistics()}
    for seed, precision in itertools.product(range(seeds), PRECISIONS):
        data = drawn(seed, precision)
        alone = {}
        for label in range(len(SIZES)):
            own = list(blocks_of(data, Walk(batch=11), np.flatnonzero(data.labels == label)))
            alone[label] = {s: state_of(s, own, Walk()) for s in statistics}
        for name, walk in WALKS.items():
            blocks = list(blocks_of(data, walk, np.arange(len(data.labels))))
            states = {s: state_of(s, blocks, walk) for s in statistics}
            for (title, measure), label in itertools.product(MEASURES.items(), range(len(SIZES))):
                found = values_of(measure, states, buckets_of(walk, label))
                right = values_of(measure, alone[label], buckets_of(Walk(), label))
                key = (title, name, precision)
                worst[key] = worst.get(key, Worst()).and_of(found, right)
    return worst


def table(worst: dict[tuple[str, str, str], Worst], column: int) -> str:
    """Return a Markdown table of the worst differences by measure (column 0) or by walk (column 1)."""
    kind = ("measure", "walk")[column]
    lines = [f"| {kind} | float32 | float64 | different counts |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(key[column] for key in worst):
        mine = {key: found for key, found in worst.items() if key[column] == name}
        cells = [max(found.apart for key, found in mine.items() if key[2] == p) for p in PRECISIONS]
        lines.append(f"| {name} | {cells[0]:.0e} | {cells[1]:.0e} | {sum(f.other for f in mine.values())} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    worst = compared(given.seeds)
    sizes = ", ".join(map(str, SIZES))
    page = (
        "# Classes within a run, and classes alone\n\nThe tables show the largest relative difference "
        "between a class measured within a run and the same\nclass measured alone, over layer values, maps "
        f"and nulls of five classes ({sizes} samples) and\n{given.seeds} draws. The last column shows how "
        "often the counts of dead, sparse or infinite units\ndiffered. Written by `python -m "
        "benchmarks.class_strata --out "
        f"benchmarks/results/class_strata.md`.\n\n{table(worst, 0)}\n\n{table(worst, 1)}"
    )
    command_line.publish(page, given.out)


if __name__ == "__main__":
    main()
