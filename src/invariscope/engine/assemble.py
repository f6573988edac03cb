"""Turn the states of a run into rows, curves and maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from invariscope.common.wording import listed
from invariscope.engine.arrival import without_partners
from invariscope.engine.class_means import ClassMean, means_of
from invariscope.engine.outputs import LayerOutput, OutputPlace, Part, Stratum, no_interval
from invariscope.engine.plan import Strata
from invariscope.engine.state import MOST_MAPPED, OUTPUT, Run, Turned
from invariscope.engine.task import Task
from invariscope.measures.base import Measure
from invariscope.measures.values import CurveValues, LayerContext, UnitValues, Values
from invariscope.readers.base import LayerKey
from invariscope.results.maps import DrawnMap
from invariscope.results.rows import Row
from invariscope.statistics.base import Statistic
from invariscope.statistics.round_trip import OnRoundTrip
from invariscope.transforms.base import Transform
from invariscope.unit_draw import UnitDraw

NOT_A_CLASS = ("all", "mean")
# Values per array of classes that are evaluated together: more would take memory and be no faster.
MOST_AT_ONCE = 1 << 16

References = Mapping[LayerKey, np.ndarray | DrawnMap]
Dead = Mapping[tuple[LayerKey, Statistic], np.ndarray]


class NoLayerError(ValueError):
    """Raised if a measure applies to none of the layers."""


def assembled(
    task: Task, run: Run, *, references: References | None = None, dead: Dead | None = None
) -> Part:
    """Return the values of the measures, grouped by measure, with layers in execution order.

    Args:
        references: per-unit values that measures with `norm="random_net"` divide by.
        dead: units that are dead at full precision.
    Raises:
        NoLayerError: a measure applies to none of the layers.
    """
    wanted = measures_of_layers(task, run)
    for measure in task.measures:
        if not any(measure in own for own in wanted.values()):
            _refuse_no_layer(run, measure)
    parts: dict[str, dict[LayerKey, Part]] = {measure.label: {} for measure in task.measures}
    shapes = {(info.layer, info.call): info.shape for info in run.inspection.layers}
    # Layer by layer, because measures share final values, which are too large to keep for all layers.
    for key, own in wanted.items():
        layer = LayerStates(run, key, task.transform, references or {}, dead or {})
        known = {measure.label: parts[measure.label].get(run.aliases.get(key, key)) for measure in own}
        found = layer.parts([measure for measure in own if known[measure.label] is None])
        for measure in own:
            same = known[measure.label]
            parts[measure.label][key] = found[measure.label] if same is None else same.at(key, shapes[key])
    if run.small:
        few = "class {} has" if len(run.small) == 1 else "classes {} have"
        are = "is" if len(run.small) == 1 else "are"
        ordered = any(statistic.ordered for measure in task.measures for statistic in measure.statistics())
        least = "samples than the preset counts at once (64)" if ordered else "than two samples"
        run.note_once(f"{few.format(listed(run.small))} fewer {least} and {are} left out")
    if run.has_classes and not run.keeps_maps and run.class_maps is None:
        run.note_once(f"maps of more than {MOST_MAPPED} classes are kept only with class_maps=True")
    whole = Part()
    for part in chain.from_iterable(found.values() for found in parts.values()):
        whole.add(part)
    return whole


def skipped(run: Run, measure: Measure) -> list[dict[str, Any]]:
    """Return the layers to which the measure does not apply, with the reason."""
    own = measure.label
    return [
        {"measure": own, "layer": layer, "call": call, "reason": f"{own}: {reason}"}
        for (layer, call), reason in _inapplicable(run, measure).items()
    ]


def measures_of_layers(task: Task, run: Run) -> dict[LayerKey, list[Measure]]:
    """Return the measures that apply to each layer."""
    wanted: dict[LayerKey, list[Measure]] = {}
    for measure in task.measures:
        for key in _layers(run, measure):
            wanted.setdefault(key, []).append(measure)
    return wanted


def _layers(run: Run, measure: Measure) -> Iterator[LayerKey]:
    """Yield the layers to which the measure applies, in execution order."""
    layers = [(info.layer, info.call) for info in run.inspection.layers]
    for key in [OUTPUT] if measure.scope == "output" else layers:
        source = run.aliases.get(key, key)
        if all((source, statistic) in run.states for statistic in measure.statistics()):
            yield key


def _refuse_no_layer(run: Run, measure: Measure) -> None:
    """Raise NoLayerError with the recorded reasons why the measure does not apply, if there are any."""
    layers: dict[str, list[str]] = {}
    reasons = _inapplicable(run, measure)
    for (layer, _), reason in reasons.items():
        layers.setdefault(reason.rstrip("."), []).append(layer)
    if reasons:
        shown = ". ".join(f"{listed(names)}: {reason}" for reason, names in list(layers.items())[:3])
        raise NoLayerError(f"{measure.label} applies to none of the {len(reasons)} layers. {shown}.")


def _inapplicable(run: Run, measure: Measure) -> dict[LayerKey, str]:
    found: dict[LayerKey, str] = {}
    for (key, statistic), reason in run.inapplicable.items():
        if statistic in measure.statistics():
            found.setdefault(key, reason)
    return found


@dataclass(frozen=True, eq=False)
class LayerStates:
    """The states of one layer, with final values that its measures share."""

    run: Run
    key: LayerKey
    transform: Transform
    references: References
    dead: Dead
    finals: dict[Any, Any] = field(default_factory=dict)

    def parts(self, measures: Sequence[Measure]) -> dict[str, Part]:
        """Return the values of all samples, of each class, and the mean over the classes, by measure."""
        found: dict[str, Part] = {}
        for measure in measures:
            self._add(measure, [self._whole(measure)], found)
        self.finals.clear()
        if self.run.turned is not None:
            self._add_turned(measures, found, self.run.turned)
        elif self.run.strata.by_class:
            self._add_classes(measures, found)
        if not self.run.arrival.is_sorted:
            return found
        return {measure.label: without_partners(found[measure.label], measure) for measure in measures}

    def _add_classes(self, measures: Sequence[Measure], found: dict[str, Part]) -> None:
        """Add the classes and their mean."""
        means: dict[str, MeasureMean] = {}
        self.add_classes(measures, class_labels(self.run), found, means)
        for measure in measures:
            found[measure.label].add(self._mean(measure, means))

    def _add_turned(self, measures: Sequence[Measure], found: dict[str, Part], turned: Turned) -> None:
        """Add the classes that were walked in turn, and their mean."""
        parts, means = turned.parts.get(self.key, {}), turned.means.get(self.key, {})
        for measure in measures:
            found[measure.label].add(parts.get(measure.label, Part()))
            found[measure.label].add(self._mean(measure, means))

    def add_classes(
        self,
        measures: Sequence[Measure],
        labels: Mapping[int, str],
        found: dict[str, Part],
        means: dict[str, MeasureMean],
    ) -> None:
        """Add classes to the parts and means of the measures, as many at once as take little memory.

        Args:
            labels: the names of the classes by their number.
        """
        classes, size = list(labels.items()), self._classes_at_once
        for first in range(0, len(classes), size):
            few = dict(classes[first : first + size])
            for measure in measures:
                strata = self._classes(measure, few)
                self.run.small.update(dict.fromkeys(s.label for s in strata if s.samples < 2))
                self._add(measure, [s for s in strata if s.samples >= 2], found, means)
            self.finals.clear()

    @property
    def _classes_at_once(self) -> int:
        """Number of classes whose final values are in memory together."""
        draw, strata = self.run.draws.get(self.key), self.run.strata
        units = math.prod(self.run.shapes.get(self.key, ())) if draw is None else draw.count
        return max(MOST_AT_ONCE // max(units * (1 + strata.groups * strata.nested), 1), 1)

    def _add(
        self,
        measure: Measure,
        strata: Sequence[Stratum],
        found: dict[str, Part],
        means: dict[str, MeasureMean] | None = None,
    ) -> None:
        """Add strata to the part and, if there is one, to the mean of a measure."""
        if not strata:
            return
        values, floors = self._values(measure, strata), self._floors(measure, strata)
        place = self._place(measure)
        whole = found.setdefault(measure.label, Part())
        first = len(whole.rows)
        for stratum, own, below in zip(strata, values, floors, strict=True):
            for output, part in own.items():
                whole.add(place(output, stratum).part(part, below.get(output)))
        if means is not None:
            means.setdefault(measure.label, MeasureMean(measure)).add(strata, values, whole.rows[first:])

    def _whole(self, measure: Measure) -> Stratum:
        """Return the stratum of all samples."""
        strata, counts = self._layout(measure, None)
        sizes = np.array([counts[own].sum() for own in self._members(measure.statistics()[-1], None)])
        return self._stratum(measure, None, "all", sizes, strata)

    def _classes(self, measure: Measure, labels: Mapping[int, str]) -> list[Stratum]:
        """Return the strata of classes."""
        strata, counts = self._layout(measure, next(iter(labels)))
        sizes = counts[self._buckets(measure.statistics()[-1], tuple(labels))].sum(axis=2)
        parts = zip(labels.items(), sizes, strict=True)
        return [self._stratum(measure, number, label, own, strata) for (number, label), own in parts]

    def _layout(self, measure: Measure, number: int | None) -> tuple[Strata, np.ndarray]:
        """Return the coarsest strata of the measure's statistics, and the number of samples per bucket.

        A measure's last statistic is the one across samples, so its counts are the group sizes.
        """
        run, statistics = self.run, measure.statistics()
        strata = min((run.strata_of(self.key, s) for s in statistics), key=lambda s: len(s.members(number)))
        return strata, run.states[self.key, statistics[-1]].counts

    def _stratum(
        self, measure: Measure, number: int | None, label: str, sizes: np.ndarray, strata: Strata
    ) -> Stratum:
        if len(strata.members(number)) == 1:
            sizes = sizes.sum(keepdims=True)
        batches = measure.statistics()[-1].ordered
        reason = no_interval(sizes, self.run.independent(number), strata.why, batches=batches)
        return Stratum(label, number, sizes, self.run.reach, reason)

    def _members(self, statistic: Statistic, number: int | None) -> list[list[int]]:
        return self.run.strata_of(self.key, statistic).members(number)

    def _buckets(self, statistic: Statistic, numbers: Sequence[int]) -> np.ndarray:
        """Return the (class, group, bucket) buckets of classes."""
        strata = self.run.strata_of(self.key, statistic)
        return np.array([strata.members(number) for number in numbers])

    def _place(self, measure: Measure) -> Callable[[str, Stratum], OutputPlace]:
        """Return a function of an output and a stratum that returns the place of the values."""
        state = self.run.states[self.key, measure.statistics()[0]]
        double, keeps = getattr(state, "double", True), self.run.keeps_maps
        known: dict[str, LayerOutput] = {}

        def place(output: str, stratum: Stratum) -> OutputPlace:
            if output not in known:
                known[output] = LayerOutput(measure, output, self.key, self.transform, double)
            return OutputPlace(known[output], stratum, keeps or stratum.label in NOT_A_CLASS)

        return place

    def _floors(self, measure: Measure, strata: Sequence[Stratum]) -> list[dict[str, Values]]:
        """Return the values of outputs over round trips; empty if these were not forwarded."""
        statistics = tuple(OnRoundTrip(statistic) for statistic in measure.statistics())
        if not all((self.key, statistic) in self.run.states for statistic in statistics):
            return [{} for _ in strata]
        return [
            {
                output: values
                for output, values in own.items()
                if measure.output(output).floor and not isinstance(values, CurveValues)
            }
            for own in self._evaluated(measure, statistics, [s.number for s in strata], whole=True)
        ]

    def _values(self, measure: Measure, strata: Sequence[Stratum]) -> list[Mapping[str, Values]]:
        """Return the values of each stratum, without replicates for those that have no intervals."""
        found: dict[int | None, Mapping[str, Values]] = {}
        for whole in (False, True):
            numbers = [s.number for s in strata if bool(s.reason) == whole]
            if numbers:
                values = self._evaluated(measure, measure.statistics(), numbers, whole=whole)
                found |= zip(numbers, values, strict=True)
        return [found[stratum.number] for stratum in strata]

    def _evaluated(
        self,
        measure: Measure,
        statistics: tuple[Statistic, ...],
        numbers: Sequence[int | None],
        *,
        whole: bool,
    ) -> Sequence[Mapping[str, Values]]:
        """Return the values of each of the strata, without leave-one-group-out replicates if `whole`."""
        classes = tuple(number for number in numbers if number is not None)
        context = self._context(measure, statistics)
        if classes:
            finals = [self._finals_of(statistic, classes, whole=whole) for statistic in statistics]
            return measure.evaluate_strata(finals, context)
        return [measure.evaluate(tuple(self._final(s, whole=whole) for s in statistics), context)]

    def _context(self, measure: Measure, statistics: tuple[Statistic, ...]) -> LayerContext:
        draw = next(filter(None, (self.run.draw_of(self.key, s) for s in statistics)), None)
        shape = None if draw else getattr(self.run.states[self.key, statistics[0]], "shape", None)
        return LayerContext(
            *self.key,
            shape=self.run.shapes.get(self.key, ()) if shape is None else shape,
            reference=_reference(self.references.get(self.key), draw),
            dead=self.dead.get((self.key, measure.statistics()[-1])),
            input_shape=self.run.input_shape,
            identity=self.transform.identity,
            draw=draw,
        )

    def _final(self, statistic: Statistic, *, whole: bool) -> Any:
        """Return the final value of all samples."""
        token = (statistic, whole)
        if token not in self.finals:
            groups = self._members(statistic, None)
            groups = [list(chain.from_iterable(groups))] if whole else groups
            self.finals[token] = statistic.finalize(self.run.states[self.key, statistic], groups)
        return self.finals[token]

    def _finals_of(self, statistic: Statistic, classes: tuple[int, ...], *, whole: bool) -> Sequence[Any]:
        """Return the final values of classes."""
        token = (statistic, classes, whole)
        if token not in self.finals:
            buckets = self._buckets(statistic, classes)
            buckets = buckets.reshape(len(classes), 1, -1) if whole else buckets
            state = self.run.states[self.key, statistic]
            self.finals[token] = statistic.finalize_strata(state, buckets)
        return self.finals[token]

    def _mean(self, measure: Measure, means: Mapping[str, MeasureMean]) -> Part:
        """Return the mean over classes of layer values, and of the finite values of maps."""
        found, classes = Part(), means.get(measure.label)
        if classes is None or classes.sizes is None:
            return found
        stratum = Stratum("mean", None, classes.sizes, self.run.reach, classes.reason)
        at = self._place(measure)
        for output, mean in classes.means.items():
            place = at(output, stratum)
            row = place.row(mean.numbers(whole=bool(classes.reason)), **mean.columns())
            maps = place.map(mean.maps.mean(), mean.draw) if mean.kind is UnitValues else {}
            found.add(Part([row], maps=maps))
        return found


@dataclass
class MeasureMean:
    """Means over classes of the outputs of a measure at one layer.

    Args:
        sizes: (group,) number of samples of all classes; None before the first class.
        reason: why the means have no intervals, taken from the first class that has none.
    """

    measure: Measure
    sizes: np.ndarray | None = None
    reason: str = ""
    means: dict[str, ClassMean] = field(default_factory=dict)

    def add(
        self, strata: Sequence[Stratum], values: Sequence[Mapping[str, Values]], rows: Sequence[Row]
    ) -> None:
        """Add some classes.

        Args:
            rows: their rows, which hold the floors.
        """
        if self.sizes is None:
            kinds = {name: self.measure.output(name).kind for name in values[0]}
            self.means = means_of(values[0], kinds)
        sizes = np.sum([stratum.sizes for stratum in strata], axis=0)
        self.sizes = sizes if self.sizes is None else sizes + self.sizes
        self.reason = self.reason or next((stratum.reason for stratum in strata if stratum.reason), "")
        floors = {(row.output, row.stratum): row.floor for row in rows}
        for output, mean in self.means.items():
            own = [floors[output, stratum.label] for stratum in strata]
            mean.add([parts[output] for parts in values], own)


def _reference(known: np.ndarray | DrawnMap | None, draw: UnitDraw | None) -> np.ndarray | None:
    """Return the per-unit reference values of the units that are measured."""
    if isinstance(known, DrawnMap):
        return known.values
    return known if known is None or draw is None else known.ravel()[draw.indices]


def class_labels(run: Run) -> dict[int, str]:
    """Return the names of the strata of classes, in the order of the classes, by the classes' numbers."""
    classes = run.strata.classes
    named = ((classes[value], run.labelling.name(value)) for value in run.labelling.ranked(classes))
    return {number: f"class {label}" if label in NOT_A_CLASS else label for number, label in named}
