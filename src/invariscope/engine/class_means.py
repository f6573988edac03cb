"""Means over classes, accumulated class by class: of layer values, of maps, and of unit counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invariscope.measures.values import LayerValues, UnitValues, Values
from invariscope.results.rows import ABSENT
from invariscope.unit_draw import DrawingError, UnitDraw


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a row.

    Args:
        layer: (replicate,) values of the layer.
        uncovered: why the value has no valid interval; "" if it has one.
        reach: factor by which its interval is widened.
        error: error due to the draw of units; None without a draw.
        ratio: (replicate,) ratio of the layer's means; None if there is none.
        ratio_error: its error due to the draw.
    """

    layer: np.ndarray
    uncovered: str = ""
    reach: float = 1.0
    error: DrawingError | None = None
    ratio: np.ndarray | None = None
    ratio_error: DrawingError | None = None

    @classmethod
    def of(cls, part: Values) -> Numbers:
        """Return the numbers of a part that has a value per layer, computed once."""
        known = vars(part).get("_numbers")
        if known is None:
            known = vars(part)["_numbers"] = cls._of(part)
        return known

    @classmethod
    def _of(cls, part: Values) -> Numbers:
        """Return the numbers of a part; a missing value has no error."""
        layer, ratio = layer_replicates(part), {}
        if isinstance(part, UnitValues) and part.ratio is not None:
            known = np.isfinite(part.ratio[0])
            ratio = {"ratio": part.ratio, "ratio_error": part.ratio_error if known else None}
        error = part.layer_error() if isinstance(part, UnitValues | LayerValues) else None
        error = error if np.isfinite(layer[0]) else None
        return cls(layer, getattr(part, "uncovered", ""), getattr(part, "reach", 1.0), error, **ratio)


@dataclass
class ErrorSum:
    """Sum of the drawing errors of classes, whose draw is common.

    Args:
        contrasts: sum of their contrasts; None if there are none.
        live: smallest number of drawn units with a value.
        count: number of errors.
    """

    contrasts: np.ndarray | None = None
    live: int = 0
    count: int = 0

    def add(self, error: DrawingError | None) -> None:
        """Add the error of a class."""
        if error is not None:
            self.live = min(self.live, error.live) if self.count else error.live
            self.contrasts = error.contrasts + (0.0 if self.contrasts is None else self.contrasts)
            self.count += 1

    def mean(self) -> DrawingError | None:
        """Return the error of the mean over classes; None without a draw."""
        return None if self.contrasts is None else DrawingError(self.contrasts / self.count, self.live)


@dataclass
class FiniteSum:
    """Sum over the leading axis of the finite values of arrays, and their number, for each entry."""

    sums: np.ndarray | None = None
    counts: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        """Add an array."""
        finite = np.isfinite(values)
        kept, count = np.where(finite, values, 0.0).sum(axis=0), finite.sum(axis=0)
        if self.sums is None or self.counts is None:
            self.sums, self.counts = kept, count
        else:
            self.sums += kept
            self.counts += count

    def mean(self) -> np.ndarray:
        """Return the mean of the finite values; NaN if there are none."""
        assert self.sums is not None
        assert self.counts is not None
        empty = np.full(np.shape(self.sums), np.nan)
        return np.divide(self.sums, self.counts, out=empty, where=self.counts > 0)


@dataclass
class ClassMean:
    """Mean over classes of one output at one layer.

    Args:
        kind: `UnitValues` or `LayerValues`; there is no mean of other values.
    """

    kind: type
    layers: list[np.ndarray] = field(default_factory=list)
    ratios: list[np.ndarray] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    nulls: list[float] = field(default_factory=list)
    undefined: float = ABSENT
    uncovered: str = ""
    reach: float = 1.0
    error: ErrorSum = field(default_factory=ErrorSum)
    ratio_error: ErrorSum = field(default_factory=ErrorSum)
    maps: FiniteSum = field(default_factory=FiniteSum)
    counted: Any = False
    first: UnitValues | None = None

    def add(self, classes: Sequence[Values], floors: Sequence[float]) -> None:
        """Add the values of some classes.

        Args:
            floors: their floors, or `ABSENT`.
        """
        numbers = [Numbers.of(values) for values in classes]
        self.layers.append(_stacked([own.layer for own in numbers]))
        self.uncovered = self.uncovered or next((own.uncovered for own in numbers if own.uncovered), "")
        self.reach = max(self.reach, *(own.reach for own in numbers))
        for own in numbers:
            self.error.add(own.error)
            self.ratio_error.add(own.ratio_error)
        if ratios := [own.ratio for own in numbers if own.ratio is not None]:
            self.ratios.append(_stacked(ratios))
        self.floors += [floor for floor in floors if floor is not ABSENT]
        units = [values for values in classes if isinstance(values, UnitValues)]
        if units:
            self.maps.add(np.stack([values.values[0] for values in units]))
            self.counted = np.logical_or.reduce([values.counted for values in units]) | self.counted
            self.nulls += [values.layer_null() for values in units]
            self.first = self.first or _without_values(units[0])
        undefined = left_out([values for values in classes if isinstance(values, LayerValues)])
        if undefined is not ABSENT:
            self.undefined = undefined + (0.0 if self.undefined is ABSENT else self.undefined)

    def numbers(self, *, whole: bool) -> Numbers:
        """Return the mean over the classes that have a value.

        Args:
            whole: only of the values over all samples of a class, without replicates.
        """
        used = 1 if whole else None
        layer, ratio = (
            mean_over_classes(np.concatenate([own[:, :used] for own in parts])) if parts else None
            for parts in (self.layers, self.ratios)
        )
        assert layer is not None
        errors = self.error.mean(), self.ratio_error.mean()
        return Numbers(layer, self.uncovered, self.reach, errors[0], ratio, errors[1])

    def columns(self) -> dict[str, Any]:
        """Return further columns of the row."""
        found: dict[str, Any] = {} if self.first is None else self._counts(self.first)
        if self.kind is LayerValues:
            found["undefined"] = self.undefined
        return found | ({"floor": float(finite_mean(np.array(self.floors)))} if self.floors else {})

    def _counts(self, first: UnitValues) -> dict[str, Any]:
        """Return the null and the unit counts."""
        assert self.maps.counts is not None
        examined = True if first.examined is None else first.examined
        dead = int((examined & (self.maps.counts == 0)).sum())
        return {
            "null": float(finite_mean(np.array(self.nulls))),
            "units": first.units,
            "units_total": first.total,
            "drawing_error": 0.0 if first.units == first.total else ABSENT,
            "dead_units": dead,
            "sparse_units": int((examined & ~self.counted).sum()) - dead,
            "counted_units": int(self.counted.sum()),
        }

    @property
    def draw(self) -> UnitDraw | None:
        """The draw of the units; None if they are all units of the layer."""
        return None if self.first is None else self.first.draw


def layer_replicates(part: Values) -> np.ndarray:
    """Return the (replicate,) values of the layer."""
    return part.values if isinstance(part, LayerValues) else part.layer_values()  # type: ignore[union-attr]


def _without_values(units: UnitValues) -> UnitValues:
    """Return the facts about the units alone, because arrays may be views of those of many classes."""
    return replace(units, values=np.empty(0), counted=units.counted.copy(), ratio=None, null=None)


def _stacked(replicates: Sequence[np.ndarray]) -> np.ndarray:
    """Return (class, replicate) values, of the replicates that all classes have."""
    common = min(map(len, replicates))
    return np.stack([own[:common] for own in replicates])


def left_out(parts: Sequence[LayerValues]) -> float:
    """Return the total number of terms that the parts left out; `ABSENT` if none can leave out terms."""
    counts = [part.undefined for part in parts if part.undefined is not None]
    return sum(counts) if counts else ABSENT


def mean_over_classes(replicates: np.ndarray) -> np.ndarray:
    """Return the (replicate,) means of (class, replicate) values over the classes that have a value.

    A replicate that any of these classes lacks is NaN, since its mean would be over fewer classes.

    >>> mean_over_classes(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, np.nan], [np.nan, np.nan, 1.0]]))
    array([ 2.,  3., nan])
    """
    known = replicates[np.isfinite(replicates[:, 0])]
    usable = np.isfinite(known).all(axis=0) & (len(known) > 0)
    return np.where(usable, np.where(np.isfinite(known), known, 0.0).sum(axis=0) / max(len(known), 1), np.nan)


def finite_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of finite values over the leading axis; NaN, without a warning, if there are none."""
    total = FiniteSum()
    total.add(values)
    return total.mean()


def means_of(outputs: Mapping[str, Values], kinds: Mapping[str, str]) -> dict[str, ClassMean]:
    """Return an empty mean for each output of a class that has one.

    Args:
        kinds: the kind of each output, see `Output`.
    """
    return {
        name: ClassMean(type(values))
        for name, values in outputs.items()
        if kinds[name] != "position" and isinstance(values, UnitValues | LayerValues)
    }
