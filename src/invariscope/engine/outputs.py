"""Create the row, curve and map of one output of a measure, at one layer and over one stratum."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod
from sys import intern
from typing import Any

import numpy as np

from invariscope.engine.class_means import Numbers, layer_replicates, left_out
from invariscope.intervals import (
    ENOUGH,
    GROUPS,
    MIN_PER_GROUP,
    MISSING,
    Interval,
    Reason,
    ReasonKind,
    jackknife,
    kind_of,
)
from invariscope.measures.base import Measure
from invariscope.measures.values import (
    BY_ELEMENT,
    CurveValues,
    ElementValues,
    LayerValues,
    UnitValues,
    Values,
)
from invariscope.readers.base import LayerKey
from invariscope.results.maps import DrawnMap, MapKey
from invariscope.results.rows import ABSENT, Point, Row
from invariscope.transforms.base import Transform
from invariscope.unit_draw import MORE_UNITS, DrawingError, UnitDraw

_NO_UNIT = "no value: all units are dead, sparse or infinite"
_ONE_SAMPLE = "no value: only one sample is left"
_NO_SAMPLE = "no value: there are fewer samples than the preset counts at once (64)"
_NOTHING = "no value: its terms are undefined for all samples, or it is 0 divided by 0"
_INFINITE = "infinite: division by 0"
_DRAW_DECIDES = f"most of the interval's width is due to the draw of units; {MORE_UNITS}"
_WHOLE_BATCHES = (
    "the protocol uses only whole batches of 64 samples, here the first {:,}; "
    'preset="quiroga2019_full" uses all samples'
)
_GROUP_DECIDES = "no interval: the value is undefined without one of the groups"


@dataclass(frozen=True)
class Stratum:
    """A subset of the samples: its label, and the number of samples in each group.

    Args:
        number: the class; None for all samples, and for the mean over classes.
        reach: factor by which intervals are widened, if their width determined the number of samples.
        reason: why it has no interval; "" if it has one.
    """

    label: str
    number: int | None
    sizes: np.ndarray
    reach: float = 1.0
    reason: str = ""

    @cached_property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.sizes.sum())


def no_interval(sizes: np.ndarray, clusters: np.ndarray | None, why: str, *, batches: bool = False) -> str:
    """Return the reason why groups of these sizes allow no interval; "" if they allow one.

    Args:
        clusters: (group,) number of clusters; None without clusters.
        why: the reason why all samples are in one group, if they are.
        batches: whether only samples in whole batches are counted, as in a published protocol.
    """
    if len(sizes) < GROUPS:
        return _reason(f"no interval: {why}")
    counts, what = (sizes, "samples") if clusters is None else (clusters, "clusters")
    if counts.min() >= MIN_PER_GROUP:
        return ""
    enough = _WHOLE_BATCHES.format(sizes.sum()) if batches else ENOUGH
    few = f"no interval: the smallest group has {counts.min()} of {MIN_PER_GROUP} {what} needed; {enough}"
    return _reason(few, "small_groups")


@lru_cache(maxsize=64)
def _reason(text: str, kind: ReasonKind = "never") -> Reason:
    """Return a reason; equal ones are one object, because many rows show them."""
    return Reason(text, kind)


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a result: rows, points of curves, and maps."""

    rows: list[Row] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    maps: dict[MapKey, np.ndarray | DrawnMap] = field(default_factory=dict)

    def add(self, other: Part) -> None:
        """Append another part."""
        self.rows.extend(other.rows)
        self.points.extend(other.points)
        self.maps.update(other.maps)

    def at(self, key: LayerKey, shape: tuple[int, ...]) -> Part:
        """Return the same part for another layer that is a view of this one, with units of this shape."""
        where = {"layer": key[0], "call": key[1]}
        return Part(
            [replace(row, **where) for row in self.rows],
            [replace(point, **where) for point in self.points],
            {
                (name, key[0], stratum, key[1]): _as(a, shape)
                for (name, _, stratum, _), a in self.maps.items()
            },
        )


def _as(map: np.ndarray | DrawnMap, shape: tuple[int, ...]) -> np.ndarray | DrawnMap:
    """Return the map in the shape of a view of the layer, or as it is if the sizes differ."""
    if isinstance(map, DrawnMap):
        return map if map.draw.total != prod(shape) else replace(map, draw=replace(map.draw, shape=shape))
    return map.reshape(shape) if map.size == prod(shape) else map


@dataclass(frozen=True)
class LayerOutput:
    """One output of a measure at one layer.

    Args:
        double: whether maps are kept in float64.
    """

    measure: Measure
    output: str
    key: LayerKey
    transform: Transform
    double: bool

    @cached_property
    def name(self) -> str:
        """The row name: the measure's name with the output."""
        return self.measure.row_name(self.output)

    @cached_property
    def range(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return self.measure.output(self.output).range


@dataclass(frozen=True)
class OutputPlace:
    """One output of a measure, at one layer and over one stratum.

    Args:
        maps: whether maps are kept, and with them the errors of single bins of drawn units.
    """

    of: LayerOutput
    stratum: Stratum
    maps: bool = True

    @property
    def columns(self) -> dict[str, Any]:
        """Columns shared by all rows and points of the output."""
        layer, call = self.of.key
        where = {"layer": layer, "call": call, "stratum": self.stratum.label}
        return where | {"measure": self.of.name, "output": self.of.output, "samples": self.stratum.samples}

    def part(self, values: Values, floor: Values | None) -> Part:
        """Return the row, the curve and the map of these values.

        Args:
            floor: the same values over round trips.
        """
        if isinstance(values, CurveValues):
            return self._curve(values)
        below: dict[str, Any] = {} if floor is None else {"floor": float(layer_replicates(floor)[0])}
        if isinstance(values, ElementValues):
            return self._elements(values, floor, below)
        numbers = Numbers.of(values)
        if isinstance(values, LayerValues):
            below |= {"null": values.null, "undefined": left_out([values])}
            return Part([self.row(numbers, note=values.note, **below)])
        empty = _NO_UNIT if self.stratum.samples else _NO_SAMPLE
        row = self.row(numbers, note=values.note, empty=empty, **_counts(values), **below)
        return Part([row], maps=self.map(values.values[0], values.draw) if self.maps else {})

    def row(self, numbers: Numbers, *, note: str = "", empty: str = "", **columns: Any) -> Row:
        """Return the row of these numbers.

        Args:
            note: the measure's own note.
            empty: note for a missing value, if the measure has none.
            columns: further columns.
        """
        layer, uncovered = numbers.layer, numbers.uncovered
        reach = self.stratum.reach * numbers.reach
        interval = MISSING if uncovered else self._interval(layer, reach)
        if (error := numbers.error) is not None and np.isfinite(layer[0]):
            interval, uncovered, note = self._with_drawing(interval, error, uncovered, note)
            columns |= {"drawing_error": error.variance**0.5}
            columns |= {"contrasts": error.contrasts.astype(np.float32)} if self.maps else {}
        why = _first_reason(self.stratum.reason, uncovered)
        if len(layer) > 1:
            columns |= {"group_sizes": self.stratum.sizes.tolist()}
            columns |= {} if why else {"replicates": layer[1:].tolist(), "reach": reach}
            why = why or ("" if np.isfinite(interval.low) else _GROUP_DECIDES)
        return Row(
            **self.columns,
            value=float(layer[0]),
            elements=len(self.of.transform),
            note=_note(float(layer[0]), why, note, _ONE_SAMPLE if self.stratum.samples == 1 else empty),
            pending=kind_of(why) != "never",
            **self._clipped(interval).columns,
            **self._ratio(numbers, reach),
            **columns,
        )

    def _with_drawing(
        self, interval: Interval, error: DrawingError, uncovered: str, note: str
    ) -> tuple[Interval, str, str]:
        """Return the interval, widened by the error of drawing units; the reason if it is missing; a note."""
        if why := uncovered or error.too_few_units(interval.error**2):
            return MISSING, why, note
        if error.variance > interval.error**2:
            note = "; ".join(filter(None, (note, _DRAW_DECIDES)))
        return interval.with_drawing(error.variance**0.5, error.freedom), uncovered, note

    def map(self, values: np.ndarray, draw: UnitDraw | None = None) -> dict[MapKey, np.ndarray | DrawnMap]:
        """Return the map of these values, in float32 if the activations are and all values fit."""
        kind = np.float64 if self.of.double or _beyond_float32(values) else np.float32
        key = (self.of.name, self.of.key[0], self.stratum.label, self.of.key[1])
        array = np.array(values, kind, order="C")
        return {key: array if draw is None else DrawnMap(array, draw)}

    def _ratio(self, numbers: Numbers, reach: float) -> dict[str, Any]:
        ratio = numbers.ratio
        if ratio is None:
            return {}
        around = self._interval(ratio, reach)
        if numbers.ratio_error is not None:
            around, _, _ = self._with_drawing(around, numbers.ratio_error, "", "")
        around = self._clipped(around)
        ends = {"ratio_low": around.low, "ratio_high": around.high}
        return {"value_ratio": float(ratio[0]), "ratio_replicates": ratio[1:].tolist() or (), **ends}

    def _elements(self, values: ElementValues, floor: Values | None, below: dict[str, Any]) -> Part:
        """Return the mean over the elements as a row, and the elements as a curve."""
        below |= {} if values.null is None else {"null": values.null}
        row = self.row(
            Numbers.of(values), units=values.values.shape[1], dead_units=0, sparse_units=0, **below
        )
        kept = values.values[:1] if values.uncovered else values.values.copy()
        if values.rare is not None:
            kept[1:, values.rare] = np.nan
        floors = floor.values[0].tolist() if isinstance(floor, ElementValues) else None
        return Part([row], self._points(kept, *self._axis(), floors))

    def _curve(self, values: CurveValues) -> Part:
        """Return a curve along its own axis, and the curves of the units, if any, as a map."""
        axis = values.parameter, list(zip(values.labels, values.x, strict=True))
        points = self._points(values.values, *(self._axis() if values.parameter == BY_ELEMENT else axis))
        return Part([], points, self.map(values.units) if self.maps and values.units is not None else {})

    def _axis(self) -> tuple[str, list[tuple[str, float]]]:
        """Return the parameter that varies along the elements, and each element's label and value of it."""
        parameter, xs = next(iter(self.of.transform.parameters.items()), (BY_ELEMENT, None))
        places = map(float, xs or range(len(self.of.transform)))
        return parameter, list(zip(self.of.transform.labels, places, strict=True))

    def _points(
        self,
        values: np.ndarray,
        parameter: str,
        axis: list[tuple[str, float]],
        floors: list[float] | None = None,
    ) -> list[Point]:
        shared = self.columns | {"parameter": parameter}
        return [
            Point(
                **shared,
                element=number,
                label=label,
                x=x,
                value=float(values[0, number]),
                floor=ABSENT if floors is None else floors[number],
                **self._clipped(self._interval(values[:, number], self.stratum.reach)).columns,
            )
            for number, (label, x) in enumerate(axis[: values.shape[1]])
        ]

    def _interval(self, values: np.ndarray, reach: float) -> Interval:
        """Return the jackknife interval."""
        if len(values) < 2:
            return MISSING
        sizes = self.stratum.sizes.tolist()
        return jackknife(float(values[0]), values[1:].tolist(), sizes, reach=reach)

    def _clipped(self, interval: Interval) -> Interval:
        """Return the interval clipped to the range of the output."""
        return interval.within(*self.of.range)


def _counts(values: UnitValues) -> dict[str, Any]:
    return {
        "null": values.layer_null(),
        "units": values.units,
        "units_total": values.total,
        "drawing_error": 0.0 if values.units == values.total else ABSENT,
        "dead_units": values.dead,
        "sparse_units": values.sparse,
        "infinite_units": values.infinite,
        "counted_units": int(values.counted.sum()),
        "masked_units": values.masked or ABSENT,
    }


def _first_reason(small: str, uncovered: str) -> str:
    """Return the reason to show. Small groups take precedence, unless more samples would not help."""
    return small if small and kind_of(uncovered or small) != "never" else uncovered or small


def _note(value: float, why: str, own: str, empty: str) -> str:
    if not np.isfinite(value):
        return own or empty or (_NOTHING if np.isnan(value) else _INFINITE)
    return intern("; ".join(filter(None, (why, own))))  # many rows have the same note


def _beyond_float32(values: np.ndarray) -> bool:
    """Return whether a finite value overflows or underflows float32, as squares of responses may."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    limits = np.finfo(np.float32)
    return bool(((size > limits.max) | (size < limits.tiny)).any())
