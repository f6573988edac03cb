"""The numbers that tables and claims name: each a value with its interval, from measured cells."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invariscope.recipes.text import unknown_key
from invariscope.registry import unknown
from invariscope.uncertainty import GROUPS, LEVEL, MISSING, Interval, jackknife

if TYPE_CHECKING:
    from invariscope.result import Result

NV = "normalized_variance"
QUANTITIES: dict[str, Callable[..., Estimate]] = {}


class NoValueError(ValueError):
    """A quantity that cannot be had, because a cell is missing or holds no such thing."""


class Cells(Protocol):
    """Where quantities find results."""

    def result(self, name: str) -> Result:
        """The result of that measuring cell; NoValueError where there is none."""
        ...

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """The cells that match any of the patterns, finished or not."""
        ...


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval, and what paired differences need.

    Args:
        value: from all samples.
        interval: over what `over` says; NaN bounds where there is none.
        omitted: the values without one group of samples each; empty where they are not known.
        sizes: of those groups.
        pairing: estimates with the same one were made on the same samples and elements.
        over: what the interval is over.
    """

    value: float
    interval: Interval = MISSING
    omitted: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    pairing: str = ""
    over: str = "samples"

    @classmethod
    def of(cls, value: float, omitted: Sequence[float], sizes: Sequence[int], pairing: str) -> Estimate:
        """With the jackknife interval of the leave-one-group-out values."""
        if len(omitted) < 2:
            return cls(float(value), pairing=pairing)
        interval = jackknife(float(value), list(omitted), list(sizes))
        return cls(float(value), interval, tuple(map(float, omitted)), tuple(sizes), pairing)

    def minus(self, other: Estimate) -> Estimate:
        """The difference: paired where both come from the same samples, else of independent estimates."""
        value = self.value - other.value
        if self.omitted and self.pairing == other.pairing and self.sizes == other.sizes:
            omitted = np.subtract(self.omitted, other.omitted).tolist()
            return Estimate.of(value, omitted, self.sizes, self.pairing)
        error = math.hypot(self.interval.error, other.interval.error)
        centre = self.interval.centre - other.interval.centre
        return Estimate(value, _around(centre, error, GROUPS - 1))


def _around(centre: float, error: float, freedom: int) -> Interval:
    from scipy import special

    if not math.isfinite(centre) or not math.isfinite(error):
        return MISSING
    reach = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    return Interval(centre - reach, centre + reach, centre, error)


def _spread_over(values: Sequence[float], over: str) -> Estimate:
    """The mean of a few independent values with the t interval over them."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        raise NoValueError("no finite value")
    centre, count = float(known.mean()), len(known)
    error = float(known.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(centre, _around(centre, error, count - 1) if count > 1 else MISSING, over=over)


def quantity(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
    """Lists a function of (cells, *, options) under its name."""
    QUANTITIES[function.__name__] = function
    return function


def check(spec: dict[str, Any]) -> None:
    """Refuses a quantity that does not exist, or arguments that it does not take.

    Raises:
        ValueError: with the closest name.
    """
    name = spec.get("quantity")
    if not isinstance(name, str):
        raise ValueError(f"a value is a table with the key 'quantity', got {spec!r}")
    if name not in QUANTITIES:
        raise unknown("quantity", name, QUANTITIES)
    parameters = list(inspect.signature(QUANTITIES[name]).parameters.values())[1:]
    for key in spec:
        if key != "quantity" and key not in {p.name for p in parameters}:
            raise ValueError(unknown_key(key, [p.name for p in parameters], name))
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in spec]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")


def worked_out(cells: Cells, spec: dict[str, Any]) -> Estimate:
    """The quantity that a table names.

    Raises:
        NoValueError: a cell is missing, or holds no such thing.
    """
    arguments = {key: value for key, value in spec.items() if key != "quantity"}
    return QUANTITIES[spec["quantity"]](cells, **arguments)


def _rows(result: Result, measure: str, stratum: str) -> list[dict[str, Any]]:
    rows = [row for row in result.rows if (row["measure"], row["stratum"]) == (measure, stratum)]
    if not rows:
        raise NoValueError(f"{result.name} holds no {measure} of stratum {stratum!r}")
    return rows


def _pairing(result: Result) -> str:
    parts = [result.provenance.get(part, {}).get("fingerprint") for part in ("data", "transform")]
    return "/".join(map(str, parts))


def _replicates(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, list[int]]:
    """((1 + groups, layer) values: of all samples, then without one group each; the groups' sizes)."""
    values = np.array([[row["value"] for row in rows]], float)
    if not all(row.get("replicates") for row in rows):
        return values, []
    omitted = np.array([row["replicates"] for row in rows], float).T
    return np.concatenate([values, omitted]), list(rows[0]["group_sizes"])


@quantity
def overall(cells: Cells, *, cell: str, measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over all finite activations of a network: large layers weigh more than small ones."""
    result = cells.result(cell)
    rows = [row for row in _rows(result, measure, stratum) if np.isfinite(row["value"])]
    if not rows:
        raise NoValueError(f"no layer of {cell} has a finite {measure}")
    values, sizes = _replicates(rows)
    means = np.average(values, axis=1, weights=[row["counted_units"] for row in rows])
    return Estimate.of(means[0], means[1:].tolist(), sizes, _pairing(result))


@quantity
def layer_mean(cells: Cells, *, cell: str, measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over the layers of a network, each counting once."""
    result = cells.result(cell)
    rows = [row for row in _rows(result, measure, stratum) if np.isfinite(row["value"])]
    if not rows:
        raise NoValueError(f"no layer of {cell} has a finite {measure}")
    values, sizes = _replicates(rows)
    means = values.mean(axis=1)
    return Estimate.of(means[0], means[1:].tolist(), sizes, _pairing(result))


@quantity
def layer_value(
    cells: Cells, *, cell: str, measure: str = NV, layer: str = "output", stratum: str = "all"
) -> Estimate:
    """The value of one layer; for predictions the mean over the elements."""
    result = cells.result(cell)
    rows = [row for row in _rows(result, measure, stratum) if row["layer"] == layer]
    if not rows:
        raise NoValueError(f"{cell} has no layer {layer!r} of {measure}")
    values, sizes = _replicates(rows[:1])
    return Estimate.of(values[0, 0], values[1:, 0].tolist(), sizes, _pairing(result))


@quantity
def element_value(cells: Cells, *, cell: str, measure: str, x: float, layer: str = "output") -> Estimate:
    """One point of a curve: the value at the element whose parameter is `x`."""
    result = cells.result(cell)
    for row in result.curve_rows:
        if (row["measure"], row["layer"], row["stratum"]) == (measure, layer, "all") and row["x"] == x:
            centre = (row["ci_low"] + row["ci_high"]) / 2
            return Estimate(row["value"], Interval(row["ci_low"], row["ci_high"], centre))
    raise NoValueError(f"{cell} has no {measure} of {layer} at {x:g}")


@quantity
def depth_contrast(
    cells: Cells, *, cell: str, measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """Mean over the first layers (that share of them, at least one) minus mean over the others."""
    result = cells.result(cell)
    values, sizes = _replicates([r for r in _rows(result, measure, stratum) if np.isfinite(r["value"])])
    if values.shape[1] < 2:
        raise NoValueError(f"{cell} has fewer than two layers with a {measure}")
    first = max(1, round(share * values.shape[1]))
    contrast = values[:, :first].mean(axis=1) - values[:, first:].mean(axis=1)
    return Estimate.of(contrast[0], contrast[1:].tolist(), sizes, _pairing(result))


@quantity
def spread_contrast(
    cells: Cells, *, among: list[str], measure: str = NV, stratum: str = "all", share: float = 1 / 3
) -> Estimate:
    """How much more networks differ in their last layers than before: a difference of standard deviations.

    Each network's profile is interpolated at 30 relative depths; at each depth the standard deviation over
    the networks is taken; then the mean over the last share of the depths minus the mean over the others.
    """
    results = [cells.result(name) for name in cells.matching(among)]
    if len(results) < 2:
        raise NoValueError(f"fewer than two networks match {among}")
    profiles = [
        _replicates([r for r in _rows(x, measure, stratum) if np.isfinite(r["value"])]) for x in results
    ]
    alike = len({tuple(sizes) for _, sizes in profiles}) == len({_pairing(x) for x in results}) == 1
    count = min(len(values) for values, _ in profiles) if alike else 1
    depths = np.linspace(0, 1, 30)
    curves = np.array([[_at_depths(values[k], depths) for values, _ in profiles] for k in range(count)])
    spread = curves.std(axis=1, ddof=1)
    last = depths >= 1 - share
    contrast = spread[:, last].mean(axis=1) - spread[:, ~last].mean(axis=1)
    return Estimate.of(contrast[0], contrast[1:].tolist(), profiles[0][1], _pairing(results[0]))


def _at_depths(profile: np.ndarray, depths: np.ndarray) -> np.ndarray:
    return np.interp(depths, np.linspace(0, 1, len(profile)), profile)


@quantity
def own_class_contrast(cells: Cells, *, cell: str, layer: str, measure: str = NV) -> Estimate:
    """In an output layer with a unit a class: a class's own unit minus the other units, mean over classes.

    The interval is over the classes.
    """
    result = cells.result(cell)
    classes = [str(name) for name in result.provenance.get("data", {}).get("classes", ())]
    rows = []
    for name in classes:
        if (measure, layer, name, 0) not in result.maps:
            raise NoValueError(f"{cell} holds no map of {layer} for class {name}")
        rows.append(result.maps[measure, layer, name].ravel())
    matrix = np.array(rows, float)
    if matrix.shape != (len(classes), len(classes)):
        raise NoValueError(f"{layer} of {cell} has {matrix.shape[-1]} units for {len(classes)} classes")
    matrix[~np.isfinite(matrix)] = np.nan
    own = np.diag(matrix)
    others = np.nanmean(np.where(np.eye(len(classes), dtype=bool), np.nan, matrix), axis=1)
    return _spread_over(own - others, "classes")


@quantity
def mean_over(cells: Cells, *, among: list[str], measure: str = NV, stratum: str = "all") -> Estimate:
    """Mean over several networks of their overall values, with the interval over the networks."""
    found = [overall(cells, cell=name, measure=measure, stratum=stratum) for name in cells.matching(among)]
    return _spread_over([estimate.value for estimate in found], "networks")


@quantity
def relative_spread(cells: Cells, *, among: list[str], measure: str = NV, stratum: str = "all") -> Estimate:
    """Standard deviation over several networks of their overall values, relative to its mean.

    The interval is that of the standard deviation of normally distributed values.
    """
    from scipy import special

    found = [overall(cells, cell=name, measure=measure, stratum=stratum) for name in cells.matching(among)]
    if len(found) < 3:
        raise NoValueError(f"a spread needs three networks, {len(found)} match {among}")
    values = np.array([estimate.value for estimate in found])
    freedom, share = len(values) - 1, float(values.std(ddof=1) / values.mean())
    low, high = (
        share * math.sqrt(freedom / float(special.chdtri(freedom, p)))
        for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    )
    return Estimate(share, Interval(low, high, share), over="networks")
