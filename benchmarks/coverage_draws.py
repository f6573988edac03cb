"""Draw samples from a population, order and group them as in the engine, and compute their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import invariscope as iv
from benchmarks.populations import ELEMENTS, Population
from invariscope.block import Block, Membership
from invariscope.data.order import INDEX, Identities, pair_numbers
from invariscope.engine.feature_motion import acting_elements
from invariscope.intervals import GROUPS
from invariscope.measures.base import Measure
from invariscope.statistics.base import Statistic
from invariscope.statistics.kept.sample_table import SampleStatistic, TableState
from invariscope.statistics.pairs import partners
from invariscope.statistics.probes import EqualNoise

_PART, _KNOWN = 2_000, 40_000
_TURNS = iv.QuarterTurns()


@dataclass(frozen=True)
class Kind:
    """A population, and how its samples are stored and grouped.

    Args:
        population: name of the population.
        by_class: whether samples are stored sorted by class.
        dealt: whether groups follow the stored order instead of the rank.
        clusters: whether copies are declared as clusters.
    """

    population: str
    by_class: bool = False
    dealt: bool = False
    clusters: bool = False


KINDS: dict[str, Kind] = {
    **{name: Kind(name) for name in ("linear", "relu", "heavy", "mixed", "sparse", "classes")},
    "sorted": Kind("classes", by_class=True),
    "sorted, dealt": Kind("classes", by_class=True, dealt=True),
    **{name: Kind(name) for name in ("correlated", "log-normal", "3 percent", "copies")},
    "copies, clusters=": Kind("copies", clusters=True),
    "real maps": Kind("real maps"),
    "real vector": Kind("real vector"),
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Samples of a population in the order of their rank.

    Args:
        population: the population.
        chosen: (rank,) indices into the population.
        groups, partners, clusters: as in the engine's `Order`.
        nested: whether classes have buckets of their own.
    """

    population: Population
    chosen: np.ndarray
    groups: np.ndarray
    partners: np.ndarray
    clusters: np.ndarray | None
    nested: bool = False

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def classes(self) -> int:
        """The number of classes with buckets of their own."""
        return self.population.classes if self.nested else 1

    @property
    def labels(self) -> np.ndarray:
        """The class of each sample, (rank,)."""
        return self.population.labels[self.chosen]

    @property
    def buckets(self) -> np.ndarray:
        """The bucket of each sample, (rank,): its group, and its class if classes are nested."""
        return self.groups + (GROUPS * self.labels if self.nested else 0)

    @property
    def sizes(self) -> np.ndarray:
        """The number of samples per group, (group,)."""
        return np.bincount(self.groups, minlength=GROUPS)

    @property
    def independent(self) -> int:
        """The number of samples, or clusters, in the smallest group of any class."""
        counted = slice(None) if self.clusters is None else np.unique(self.clusters, return_index=True)[1]
        return int(np.bincount(self.buckets[counted], minlength=GROUPS * self.classes).min())


def walked(kind: Kind, population: Population, chosen: np.ndarray, seed: int, *, nested: bool) -> Sample:
    """Return the chosen samples, in whole clusters, in the order of the engine."""
    places = np.arange(len(chosen))
    if kind.by_class:
        chosen = chosen[np.argsort(population.labels[chosen], kind="stable")]
    if kind.dealt:
        groups = pair_numbers(len(chosen)) % GROUPS
        return Sample(population, chosen, groups, partners(len(chosen)), None, nested)
    clusters = places // population.together if kind.clusters else None
    order = Identities(places, INDEX, clusters).ranked(seed)
    return Sample(population, chosen[order.walk], order.groups, order.partners, order.clusters, nested)


def drawn(
    kind: Kind, population: Population, samples: int, rng: np.random.Generator, *, nested: bool
) -> Sample:
    """Draw samples with replacement in whole clusters."""
    size = population.together
    first = rng.integers(0, len(population) // size, samples // size) * size
    chosen = (first[:, None] + np.arange(size)).ravel()
    return walked(kind, population, chosen, int(rng.integers(2**31)), nested=nested)


def block_of(sample: Sample, lo: int, hi: int, *, output: bool, plain: bool = False) -> Block:
    """Return the samples of ranks lo to hi as a block of the engine.

    Args:
        sample: the samples.
        lo, hi: range of ranks.
        output: whether to return class scores instead of the layer.
        plain: whether to return responses to untransformed inputs only, as pilot statistics need them.
    """
    source = sample.population.scores if output else sample.population.responses
    few = source[sample.chosen[lo:hi], : 1 if plain else None]
    count, width = few.shape[:2]
    ranks, mates = np.arange(lo, hi), sample.partners[lo:hi] - lo
    noise = {} if plain else {EqualNoise().name: tuple(range(ELEMENTS, width))}
    buckets = sample.groups if plain else sample.buckets
    return Block(
        values=torch.from_numpy(few).flatten(0, 1),
        samples=count,
        elements=1 if plain else ELEMENTS,
        sample_step=width,
        element_step=1,
        membership=Membership(buckets[lo:hi, None]),
        indices=ranks,
        labels=torch.from_numpy(sample.labels[lo:hi]),
        positions=ranks,
        sizes=np.full(count, len(sample)),
        probes={"identity": (0,)} | noise,
        partners=np.where((mates >= 0) & (mates < count), mates, -1),
        clusters=None if sample.clusters is None else sample.clusters[lo:hi],
        total=len(sample),
        act=lambda maps, indices, keys, inverse: _TURNS.act(maps, inverse=inverse),
        acting=acting_elements(_TURNS, seed=0),
        input_shape=sample.population.shape,
    )


class Simulation:
    """Computes states for samples of one kind. Per-sample columns are computed once for all draws."""

    def __init__(self, kind: Kind, population: Population) -> None:
        self.kind, self.population = kind, population
        self._tables: dict[Statistic, Mapping[str, np.ndarray]] = {}

    def everything(self) -> Sample:
        """Return the whole population, repeated with other partners if it is small."""
        times = max(1, _KNOWN // len(self.population))
        chosen = np.tile(np.arange(len(self.population)), times)
        own = replace(self.kind, clusters=self.population.together > 1, dealt=False)
        return walked(own, self.population, chosen, 0, nested=True)

    def states(self, measures: Iterable[Measure], sample: Sample) -> dict[Statistic, Any]:
        """Return the states of all statistics that the measures need."""
        found: dict[Statistic, Any] = {}
        for measure in measures:
            for statistic in measure.statistics():
                if statistic not in found:
                    found[statistic] = self._state(statistic, measure, sample)
        return found

    def _state(self, statistic: Statistic, measure: Measure, sample: Sample) -> Any:
        output = measure.scope == "output"
        if isinstance(statistic, SampleStatistic) and not any(
            o.of_partners for o in measure.outputs().values()
        ):
            return self._table(statistic, sample, output=output)
        pilot = None
        if statistic.pilot is not None:
            state = _fed(statistic.pilot, sample, GROUPS, output=output, plain=True)
            pilot = statistic.pilot.finalize(state, [list(range(GROUPS))])
        return _fed(statistic, sample, GROUPS * sample.classes, output=output, pilot=pilot)

    def table(self, measure: Measure) -> Mapping[str, np.ndarray]:
        """Return the columns of the measure's table for the whole population."""
        statistic = next(s for s in measure.statistics() if isinstance(s, SampleStatistic))
        return self._columns(statistic, output=measure.scope == "output")

    def _columns(self, statistic: SampleStatistic, *, output: bool) -> Mapping[str, np.ndarray]:
        """Return the columns for the whole population, without partners, since nulls have no interval."""
        if statistic not in self._tables:
            everyone = np.arange(len(self.population))
            alone = np.full(len(everyone), -1)
            whole = Sample(self.population, everyone, 0 * everyone, alone, None)
            state = _fed(statistic, whole, 1, output=output)
            self._tables[statistic] = {name: np.concatenate(parts) for name, parts in state.columns.items()}
        return self._tables[statistic]

    def _table(self, statistic: SampleStatistic, sample: Sample, *, output: bool) -> TableState:
        """Return the table of these samples."""
        known = self._columns(statistic, output=output)
        columns = {name: [column[sample.chosen]] for name, column in known.items()}
        clusters = [] if sample.clusters is None else [sample.clusters]
        ranks, size = np.arange(len(sample)), GROUPS * sample.classes
        return TableState([ranks], [sample.buckets[:, None]], columns, size, clusters)


def _fed(
    statistic: Statistic,
    sample: Sample,
    buckets: int,
    *,
    output: bool,
    plain: bool = False,
    pilot: Any = None,
) -> Any:
    """Return the state of a statistic that has processed all samples."""
    state = None
    for lo in range(0, len(sample), _PART):
        block = block_of(sample, lo, min(lo + _PART, len(sample)), output=output, plain=plain)
        if state is None:
            state = statistic.init(block, buckets=buckets, pilot=pilot)
        statistic.update(state, block)
    return state
