"""Quantities: functions of measured cells that return a value with its interval."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, LEVEL, MISSING, Interval, jackknife
from invariscope.lab.recipes.text import unknown_key

if TYPE_CHECKING:
    from invariscope.results.result import Result
    from invariscope.results.rows import Point, Row

NV = "normalized_variance"
QUANTITIES: dict[str, Callable[..., Estimate]] = {}


class NoValueError(ValueError):
    """Raised if a quantity has no value because a cell is missing or does not contain it."""


class NotFinishedError(NoValueError):
    """Raised if a quantity has no value yet because a cell is unfinished."""


class LeftOutError(NotFinishedError):
    """Raised if a quantity has no value because the scale leaves a cell out."""


class Results(Protocol):
    """The results from which quantities are computed."""

    def result(self, name: str) -> Result:
        """Return the result of a measuring cell, or raise NoValueError (NotFinishedError if unfinished)."""
        ...

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """Return the cells that match any of the patterns, finished or not."""
        ...


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and the replicates that paired differences need.

    Args:
        value: value from all samples.
        interval: its interval; `covers` states what it is over, and bounds are NaN if there is no interval.
        omitted: the values with each group of samples left out in turn; empty if unknown.
        sizes: sizes of those groups.
        pairing: equal for estimates from the same samples and elements.
        over: what the outermost level of the interval is over, such as "samples" or "trainings".
        scale: "log" for ratios, which are averaged as logarithms.
        trainings: number of training runs that were combined.
        inner: the same value with the interval of the nested level, such as samples within trainings; its
            error is already part of this interval.
    """

    value: float
    interval: Interval = MISSING
    omitted: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    pairing: str = ""
    over: str = "samples"
    scale: Literal["linear", "log"] = "linear"
    trainings: int = 1
    inner: Estimate | None = None

    @classmethod
    def of(cls, value: float, omitted: Sequence[float], sizes: Sequence[int], pairing: str) -> Estimate:
        """Return an estimate with the jackknife interval of leave-one-group-out values."""
        if len(omitted) < 2:
            return cls(float(value), pairing=pairing)
        interval = jackknife(float(value), list(omitted), list(sizes))
        return cls(float(value), interval, tuple(map(float, omitted)), tuple(sizes), pairing)

    @property
    def covers(self) -> str:
        """What the interval is over, in words.

        >>> Estimate(1.0, over="trainings", inner=Estimate(1.0)).covers
        'samples within trainings'
        """
        if self.inner is None:
            return self.over
        inner = self.inner.covers
        return f"{inner} within {self.over}" if self.inner.over == "samples" else f"{self.over} and {inner}"

    def paired_with(self, other: Estimate) -> bool:
        """Return whether both estimates leave out the same groups of the same samples."""
        return bool(self.omitted) and self.pairing == other.pairing and self.sizes == other.sizes

    def minus(self, other: Estimate) -> Estimate:
        """Return the difference: paired if both come from the same samples, else treated as independent."""
        value = self.value - other.value
        if self.paired_with(other):
            omitted = np.subtract(self.omitted, other.omitted).tolist()
            found = replace(Estimate.of(value, omitted, self.sizes, self.pairing), over=self.over)
            return found.holding(self.inner.minus(other.inner)) if self.inner and other.inner else found
        error = math.hypot(self.interval.error, other.interval.error)
        centre = self.interval.centre - other.interval.centre
        return Estimate(value, around(centre, error, GROUPS - 1), over=self.over)

    def holding(self, inner: Estimate | None) -> Estimate:
        """Return the estimate with the error of an inner estimate added to its own.

        The variances add up, with Satterthwaite's degrees of freedom, and the bias correction of the inner
        estimate is applied to the centre. None, or an inner estimate without an interval, changes nothing.
        """
        if inner is None or not math.isfinite(inner.interval.error):
            return self
        centre = self.interval.centre + inner.interval.centre - inner.value
        error, freedom = added([self.interval, inner.interval])
        return replace(self, interval=around(centre, error, freedom), inner=inner)

    def logarithm(self) -> Estimate:
        """Return the estimate of the logarithm.

        Raises:
            NoValueError: the value is not positive.
        """
        if not self.value > 0:
            raise NoValueError(f"a ratio needs positive values, got {self.value:.3g}")
        if self.omitted and min(self.omitted) > 0:
            logs = np.log(self.omitted).tolist()
            found = Estimate.of(math.log(self.value), logs, self.sizes, self.pairing)
            return replace(found, over=self.over)
        centre = self.interval.centre if self.interval.logarithmic else self.value
        interval = around(math.log(centre), self.interval.error / centre, self.interval.freedom)
        return Estimate(math.log(self.value), interval, over=self.over)

    def exponential(self) -> Estimate:
        """Return the estimate of the exponential, which turns the logarithm of a ratio into the ratio."""
        omitted = tuple(map(math.exp, self.omitted))
        interval = self.interval.exponential()
        return replace(self, value=math.exp(self.value), interval=interval, omitted=omitted, scale="log")


def added(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Return the error of a sum of independent parts and Satterthwaite's degrees of freedom.

    .. math:: \\nu = \\frac{(\\sum_i e_i^2)^2}{\\sum_i e_i^4 / \\nu_i}

    Source:
        Satterthwaite 1946, doi:10.2307/3002019.

    >>> added([Interval(0, 0, 0, 3.0, 2), Interval(0, 0, 0, 4.0, 8)])
    (5.0, 8.620689655172415)
    """
    error = math.hypot(*(part.error for part in intervals))
    uncertain = sum(part.error**4 / part.freedom for part in intervals)
    return error, error**4 / uncertain if uncertain > 0 else min(part.freedom for part in intervals)


def around(centre: float, error: float, freedom: float) -> Interval:
    """Return the t interval around a centre; MISSING if the centre or the error is not finite."""
    from scipy import special

    if not math.isfinite(centre) or not math.isfinite(error):
        return MISSING
    reach = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    return Interval(centre - reach, centre + reach, centre, error, freedom)


def spread_over(values: Sequence[float], over: str) -> Estimate:
    """Return the mean of a few independent values with its t interval."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        raise NoValueError("no finite value")
    centre, count = float(known.mean()), len(known)
    error = float(known.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(centre, around(centre, error, count - 1) if count > 1 else MISSING, over=over)


def quantity(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
    """Register a function of (cells, *, options) under its name."""
    QUANTITIES[function.__name__] = function
    return function


def check(spec: dict[str, Any]) -> None:
    """Reject unknown quantities and arguments.

    Raises:
        ValueError: an unknown name; the message gives the closest known one.
    """
    name = spec.get("quantity")
    if not isinstance(name, str):
        raise ValueError(f"a value must be a table with the key 'quantity', got {spec!r}")
    if name not in QUANTITIES:
        raise unknown("quantity", name, QUANTITIES)
    parameters = list(inspect.signature(QUANTITIES[name]).parameters.values())[1:]
    for key in spec:
        if key != "quantity" and key not in {p.name for p in parameters}:
            raise ValueError(unknown_key(key, [p.name for p in parameters], name))
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in spec]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")


def evaluate(cells: Results, spec: dict[str, Any]) -> Estimate:
    """Compute the quantity that a TOML table describes.

    Raises:
        NoValueError: a cell is missing, or does not contain the quantity.
    """
    arguments = {key: value for key, value in spec.items() if key != "quantity"}
    return QUANTITIES[spec["quantity"]](cells, **arguments)


def rows_of(
    cells: Results,
    cell: str,
    measure: str,
    stratum: str,
    *,
    layers: Sequence[str] | None = None,
    finite: bool = False,
) -> list[Row]:
    """Return the rows of a measure and a stratum in a cell, in the order of the layers.

    Args:
        cells, cell: the results, and the name of the cell.
        measure, stratum: measure and stratum of the rows.
        layers: patterns of layers; None: all.
        finite: whether to leave out layers without a finite value.
    Raises:
        NoValueError: no row is left.
    """
    rows = [row for row in cells.result(cell).rows if (row["measure"], row["stratum"]) == (measure, stratum)]
    if not rows:
        raise NoValueError(f"{cell} has no {measure} of stratum {stratum!r}")
    found = [
        row
        for row in rows
        if matches_any(layers, row["layer"]) and (math.isfinite(row["value"]) or not finite)
    ]
    if not found:
        kind = "a finite" if finite else "a"
        raise NoValueError(f"no layer of {cell} that matches {list(layers or ['*'])} has {kind} {measure}")
    return found


def bounded(estimate: Estimate, least: float, most: float) -> Estimate:
    """Return the estimate with its interval clipped to [least, most]."""
    low, high = max(estimate.interval.low, least), min(estimate.interval.high, most)
    return replace(estimate, interval=replace(estimate.interval, low=low, high=high))


def estimate_of(result: Result, values: np.ndarray, sizes: Sequence[int]) -> Estimate:
    """Return an estimate from (1 + groups,) values: from all samples, then leaving out each group in turn."""
    return Estimate.of(values[0], values[1:].tolist(), sizes, pairing_of(result))


def pairing_of(result: Result) -> str:
    """Return a string that is equal for results from the same samples and elements."""
    parts = [result.provenance.get(part, {}).get("fingerprint") for part in ("data", "transform")]
    return "/".join(map(str, parts))


def replicates_of(rows: Sequence[Row | Point]) -> tuple[np.ndarray, list[int]]:
    """Return (1 + groups, layer) values, from all samples and with each group left out, and group sizes."""
    values = np.array([[row.value for row in rows]], float)
    if not all(row.replicates for row in rows):
        return values, []
    omitted = np.array([row.replicates for row in rows], float).T
    return np.concatenate([values, omitted]), list(rows[0].group_sizes)


def slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the least-squares slopes of y (..., point) against x (point,); NaN if x does not vary."""
    along = x - x.mean()
    return y @ along / (along @ along) if along.any() else np.full(y.shape[:-1], np.nan)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation; NaN if one of the vectors does not vary."""
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else math.nan
