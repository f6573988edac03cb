"""Formulas of the variance measures over several strata, such as classes, that are evaluated together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invariscope.measures.interval_limits import few_decisive, reach_of_uneven
from invariscope.measures.values import UnitValues, drawing_error, layer_means
from invariscope.measures.variance_parts import Parts, rarely
from invariscope.statistics.rounding import quotient
from invariscope.unit_draw import DrawingError, UnitDraw


@dataclass(frozen=True)
class StrataParts:
    """What `Parts` computes for one stratum, for each of several.

    Args:
        units: the parts per unit, with an axis of strata before those of units.
    """

    units: Parts

    @cached_property
    def few_decide(self) -> list[str]:
        """Why values based on the spread along orbits have no interval; "" if they have one."""
        return [few_decisive(*sums) for sums in self.units.along.decisive.T.tolist()]

    @cached_property
    def reach(self) -> list[float]:
        """Factors that widen the intervals of values based on the spread along orbits."""
        return [reach_of_uneven(*sums) for sums in self.units.along.decisive.T.tolist()]

    def uncovered(self, counted: np.ndarray, min_firing: int) -> list[str]:
        """Explain why means over units of the spread along orbits have no interval; "" if they have one."""
        rare = self.rarely_respond(counted, min_firing)
        return [few or own for few, own in zip(self.few_decide, rare, strict=True)]

    def rarely_respond(self, counted: np.ndarray, min_firing: int) -> list[str]:
        """Explain why means over all but the sparse units have no interval; "" if they have one.

        Args:
            counted: (stratum, unit...) mask of the units of the mean.
        """
        across = self.units.across
        if not min_firing:
            return [""] * len(counted)
        moved = _medians(across.unusual, counted).tolist()
        samples = zip(moved, across.clusters.ravel().tolist(), strict=True)
        return ["" if np.isnan(half) else rarely(half, count) for half, count in samples]

    def ratio(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """Return the (replicate, stratum) ratios of two means over the units that are not dead.

        If few samples decide a value, its replicates are NaN, so that there is no interval.
        """
        alive = _flat(~self.units.dead) * (1.0 if self.units.draw is None else self.units.draw.weights)
        sums = (np.matmul(_flat(part, 2)[:, :, None], alive[..., None]) for part in (above, below))
        found = quotient(*(part[..., 0, 0] for part in sums))
        found[1:, [bool(few) for few in self.few_decide]] = np.nan
        return found

    def ratio_errors(self, above: np.ndarray, below: np.ndarray) -> list[DrawingError] | None:
        """Return the errors of `ratio` due to the draw of units; None without a draw."""
        if (draw := self.units.draw) is None:
            return None
        terms = [np.where(self.units.dead, 0.0, part[0]) for part in (above, below)]
        return [drawing_error(up, down, draw) for up, down in zip(*terms, strict=True)]


@dataclass(frozen=True)
class StrataValues:
    """What `UnitValues` holds for one stratum, for each of several.

    Args:
        values, ratio: with an axis of strata after that of replicates.
        counted, null: with a leading axis of strata.
        dead, sparse, infinite: (stratum, unit...) masks of the units left out, by reason.
        uncovered, reach, ratio_errors: one per stratum.
        draw: the draw of the units; None if they are all units of the layer.
    """

    values: np.ndarray
    counted: np.ndarray
    dead: np.ndarray
    sparse: np.ndarray
    infinite: np.ndarray | None = None
    ratio: np.ndarray | None = None
    null: np.ndarray | None = None
    uncovered: Sequence[str] = ()
    reach: Sequence[float] = ()
    draw: UnitDraw | None = None
    ratio_errors: Sequence[DrawingError] | None = None

    def apart(self) -> list[UnitValues]:
        """Return the values of each stratum, whose layer values were computed together."""
        columns: dict[str, Any] = {
            "values": self.values.swapaxes(0, 1),
            "counted": self.counted,
            "dead": _numbers_of(self.dead),
            "sparse": _numbers_of(self.sparse),
            "infinite": [] if self.infinite is None else _numbers_of(self.infinite),
            "ratio": [] if self.ratio is None else self.ratio.T,
            "null": [] if self.null is None else self.null,
            "uncovered": self.uncovered,
            "reach": self.reach,
            "ratio_error": self.ratio_errors or [],
        }
        used = {name: column for name, column in columns.items() if len(column)}
        rows = zip(*used.values(), strict=True)
        found = [UnitValues(**dict(zip(used, row, strict=True)), draw=self.draw) for row in rows]
        for name, known in self._of_layers().items():
            for one, own in zip(found, known, strict=True):
                vars(one)[name] = own
        return found

    def _of_layers(self) -> dict[str, Any]:
        """Return the layer values and nulls of all strata, by the name of the property that holds them."""
        weights = None if self.draw is None else self.draw.weights
        kept, (replicates, strata) = self.counted & np.isfinite(self.values), self.values.shape[:2]
        means = layer_means(_joined(self.values), _joined(kept), weights).reshape(replicates, strata)
        found: dict[str, Any] = {"_layer_values": np.ascontiguousarray(means.T)}
        if self.null is not None:
            found["_layer_null"] = layer_means(self.null, self.counted, weights).tolist()
        return found


def _flat(array: np.ndarray, lead: int = 1) -> np.ndarray:
    """Return the array with one axis of units after `lead` other axes."""
    return array.reshape(*array.shape[:lead], -1)


def _joined(array: np.ndarray) -> np.ndarray:
    """Return an array with its first two axes joined."""
    return array.reshape(-1, *array.shape[2:])


def _numbers_of(masks: np.ndarray) -> list[int]:
    """Return the number of units in the mask of each stratum."""
    return _flat(masks).sum(axis=1).tolist()


def _medians(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the (stratum,) median of the kept values of each stratum; NaN if there are none.

    >>> _medians(np.array([[3.0, 1.0, 2.0], [1.0, 5.0, 9.0]]), np.array([[True] * 3, [True, True, False]]))
    array([2., 3.])
    """
    counts, rows = _flat(kept).sum(axis=1), np.arange(len(kept))
    ordered = np.sort(_flat(np.where(kept, values, np.inf)), axis=1)
    middle = (ordered[rows, np.maximum(counts - 1, 0) // 2], ordered[rows, counts // 2 - (counts == 0)])
    return np.where(counts > 0, sum(middle) / 2, np.nan)
