"""Simulate many draws at once, for values that are functions of sums over samples.

The contribution of each sample of a population is computed once. A draw then consists of eight sums, one per
group, and the formulas of the measures are applied to all draws together. `python -m benchmarks.coverage
--check` compares the values with those of the measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

import invariscope as iv
from benchmarks.populations import ELEMENTS, Population
from invariscope.intervals import DECISIVE, GROUPS
from invariscope.measures.interval_limits import EVENTS, OF_RELATIVE, few_decide, reach_of_uneven
from invariscope.measures.variance_parts import rare_below
from invariscope.measures.worst_element import chosen_by_chance, reach_of_largest
from invariscope.statistics.rounding import ratio

_QUANTILE = float(special.stdtrit(GROUPS - 1, 0.975))
_ROUNDING = (32 * np.finfo(np.float32).eps) ** 2
_MIN_FIRING = iv.NormalizedVariance().min_firing
_SINGLE = ("within", "moved", "noisy", "mean_error")  # contributions that a few samples may dominate

Tables = Callable[[Any], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Values:
    """Values of several draws, and their intervals.

    Args:
        replicates: (draw, replicate) values of all samples and without each group.
        issued: (draw,) whether there is an interval.
        truth: the true value, (draw,) or one number.
        reach: (draw,) factor by which intervals are widened.
    """

    replicates: np.ndarray
    issued: np.ndarray
    truth: np.ndarray | float
    reach: np.ndarray | float = 1.0

    def hits(self) -> np.ndarray:
        """Return (draw,) whether there is an interval that covers the true value."""
        return self.existing() & holds(self.replicates, self.truth, reach=self.reach)

    def existing(self) -> np.ndarray:
        """Return (draw,) whether an interval is issued, which requires that all replicates have a value."""
        return self.issued & np.isfinite(self.replicates).all(axis=1) & np.isfinite(self.truth)


def holds(
    replicates: np.ndarray, truth: np.ndarray | float, *, reach: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return (draw,) whether jackknife intervals over equal groups cover the true value.

    Args:
        replicates: (draw, replicate) values of all samples and without each group.
        truth: the true value, (draw,) or one number.
        reach: (draw,) factor by which intervals are widened.
    """
    whole, omitted = replicates[:, 0], replicates[:, 1:]
    centre = GROUPS * whole - (GROUPS - 1) * omitted.mean(axis=1)
    spread = np.square(omitted - omitted.mean(axis=1, keepdims=True)).mean(axis=1)
    return np.abs(centre - truth) <= reach * _QUANTILE * np.sqrt((GROUPS - 1) * spread)


@dataclass(frozen=True)
class Draws:
    """Sums of many draws.

    Args:
        sums: (draw, replicate, ...) by name.
        pivot: (element, unit) mean responses of the population.
        decisive: (draw, 3, part) number, Σd and Σd² of the contributions that a few samples may dominate.
        even: (draw,) whether relative errors are distributed evenly enough for an interval.
        rows: samples, or clusters, per draw.
    """

    sums: Mapping[str, np.ndarray]
    pivot: np.ndarray
    decisive: np.ndarray
    even: np.ndarray
    rows: int

    def __getitem__(self, name: str) -> np.ndarray:
        return self.sums[name]

    def decided(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (draw,) whether the effective number of samples suffices, and widening factors."""
        number, total, squares = self.decisive[:, :, _SINGLE.index(name)].T
        wide = np.array([reach_of_uneven(*one) for one in zip(number, total, squares, strict=True)])
        return (squares <= 0) | (total**2 >= DECISIVE * squares), wide

    def rows_of(self, truth: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], Values]]:
        """Yield the rows of results by measure and output."""
        yield from self._variances(truth)
        yield from self._stability(truth["stability"])
        yield from self._others(truth)

    def _variances(self, truth: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], Values]]:
        n, m = self["count"][:, :, None], ELEMENTS
        along = self["within"] / (n * (m - 1))
        across_sums = np.maximum(self["total"] - np.square(self["columns"]).sum(axis=2) / n, 0)
        across = across_sums / (m * (n - 1))
        means = self["columns"] / n[..., None] + self.pivot
        size = np.square(means).mean(axis=2) + across
        tiny = _ROUNDING * size[:, 0]
        still, unmoved = across[:, 0] <= tiny, along[:, 0] <= tiny
        dead, unusual = still & unmoved, self["unusual"][:, 0]
        sparse = (unusual < min(_MIN_FIRING, self.rows / 4)) & ~still
        counted = ~dead & ~sparse
        enough, reach = self.decided("within")
        frequent = _medians(unusual, counted & ~still) >= rare_below(self.rows)
        transform = n * np.square(means - means.mean(axis=2, keepdims=True)).sum(axis=2)
        residual = np.maximum(self["within"] - transform, 0)
        whole = across_sums + transform
        parts = {
            ("normalized_variance", ""): (along, across, counted & ~still),
            ("anova", "share_sample"): (across_sums - residual, whole, counted),
            ("anova", "share_transform"): (transform, whole, counted),
            ("anova", "share_residual"): (residual, whole, counted),
        }
        for (name, output), (above, below, kept) in parts.items():
            known = truth[name][output]
            with np.errstate(divide="ignore", invalid="ignore"):
                mean, true = (
                    _means(above / below, kept),
                    _means(known.values[0].reshape(1, 1, -1), kept)[:, 0],
                )
                shared = _summed(above, ~dead) / _summed(below, ~dead)
            yield (name, output), Values(mean, enough & frequent, true, reach)
            yield (name, f"{output} ratio".strip()), Values(shared, enough, known.ratio[0], reach)
        common = _medians(unusual, counted) >= rare_below(self.rows)
        known = truth["transformation_variance"][""].values[0].reshape(1, 1, -1)
        true = _means(known, counted)[:, 0]
        yield ("transformation_variance", ""), Values(_means(along, counted), enough & common, true, reach)

    def _stability(self, truth: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Values]]:
        n = self["count"]
        spread = self["rest"] / n - np.square(self["columns"][:, :, 0] / n[..., None]).sum(axis=2)
        apart = 2 * n / (n - 1) * spread * n * (ELEMENTS - 1)
        found, known = {}, {name: float(truth[name].values[0]) for name in "DGR"}
        for name, part in (("D", "moved"), ("G", "noisy")):
            found[name] = self.decided(part)
            yield ("stability", name), Values(self[part] / apart, found[name][0], known[name], found[name][1])
        both = found["D"][0] & found["G"][0], np.maximum(found["D"][1], found["G"][1])
        yield ("stability", "R"), Values(self["moved"] / self["noisy"], both[0], known["R"], both[1])

    def _others(self, truth: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], Values]]:
        n, always = self["count"], np.ones(len(self.even), bool)
        deviation = self["deviation"] / self["deviations"]
        known = truth["equivariance_deviation"]
        yield (
            ("equivariance_deviation", ""),
            Values(deviation - 1, always, float(known[""].values[0])),
        )
        yield (
            ("equivariance_deviation", "to_null"),
            Values(deviation / (self["null"] / self["nulls"]), always, float(known["to_null"].values[0])),
        )
        enough, reach = self.decided("mean_error")
        error = float(truth["equivariance_error"][""].values[0])
        yield (
            ("equivariance_error", ""),
            Values(self["error"] / self["defined"], self.even & enough, error, OF_RELATIVE * reach),
        )
        yield ("worst_element", ""), self._worst(float(truth["worst_element"][""].values[0]))
        yield from self._predictions(truth, n)
        symmetry = truth["twirl"]
        shares = {"": self["symmetry"] / self["loss"], "symmetry": self["symmetry"] / n}
        for output, values in shares.items():
            yield ("twirl", output), Values(values, always, float(symmetry[output].values[0]))

    def _predictions(
        self, truth: Mapping[str, Mapping[str, Any]], n: np.ndarray
    ) -> Iterator[tuple[tuple[str, str], Values]]:
        flips, count = self["flips"][:, :, 1:], n[:, 0]
        issued = (self["changed"][:, 0] >= EVENTS) & (self["kept"][:, 0] >= EVENTS)
        true = float(truth["consistency"][""].values[0])
        yield ("consistency", ""), Values(self["agreeing"] / n, issued, true)
        issued = (flips[:, 0].max(axis=1) >= EVENTS) & (count - flips[:, 0].min(axis=1) >= EVENTS)
        true = float(truth["prediction"]["flips"].layer_values()[0])
        yield ("prediction", "flips"), Values(flips.mean(axis=2) / n, issued, true)

    def _worst(self, truth: float) -> Values:
        ratios = ratio(self["gap"], self["size"][..., None])
        issued = np.array([not chosen_by_chance(one) for one in ratios])
        reach = np.array([reach_of_largest(one) for one in ratios])
        return Values(ratios.max(axis=2), issued, truth, reach)


class Additive:
    """The contribution of each sample, or of each declared cluster, to the sums."""

    def __init__(self, population: Population, tables: Tables, *, clustered: bool) -> None:
        self.population = population
        self.size = population.together if clustered else 1
        columns = dict(_moments(population)) | dict(_of_tables(population, tables))
        self.errors, self.sizes = columns.pop("errors"), columns.pop("sizes")
        joined = {name: self._by_cluster(name, part) for name, part in columns.items()}
        pivot = population.responses[:, :ELEMENTS].reshape(len(population), ELEMENTS, -1)
        self.pivot = pivot.mean(axis=0, dtype=np.float64)
        self.single = np.stack([joined[name].reshape(len(joined[name]), -1).sum(1) for name in _SINGLE], 1)
        self.shapes = {name: part.shape[1:] for name, part in joined.items()}
        self.rows = np.concatenate([part.reshape(len(part), -1) for part in joined.values()], axis=1)
        self.responses = population.responses[:, :ELEMENTS].reshape(len(population), ELEMENTS, -1)
        self.lengths = np.linalg.norm(self.responses, axis=2)
        self.centres = self.responses.mean(axis=1)

    def _by_cluster(self, name: str, part: np.ndarray) -> np.ndarray:
        if self.size == 1:
            return part
        grouped = part.reshape(-1, self.size, *part.shape[1:])
        return grouped.max(axis=1) if name == "unusual" else grouped.sum(axis=1)

    def sums(self, sample: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (group, column) sums, (3, part) number, Σd and Σd², and whether relative errors are even."""
        order = np.argsort(sample.groups, kind="stable")[:: self.size]
        rows = sample.chosen[order] // self.size
        starts = np.searchsorted(sample.groups[order], np.arange(GROUPS))
        parts = self.single[rows]
        decisive = np.stack([np.full(len(_SINGLE), len(rows)), parts.sum(0), np.square(parts).sum(0)])
        sums = np.add.reduceat(self.rows[rows], starts)
        nulls = [np.bincount(sample.groups, part, GROUPS) for part in self._nulls(sample)]
        return (
            np.column_stack([sums, *nulls]),
            decisive,
            np.array(not few_decide(self.errors[sample.chosen], self.sizes[sample.chosen])),
        )

    def _nulls(self, sample: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return (rank,) Σ_j (1 − cos) to the mean response to the partner, and the number of elements j."""
        other = self.centres[sample.chosen][sample.partners]
        products = np.einsum("iju,iu->ij", self.responses[sample.chosen], other)
        lengths = self.lengths[sample.chosen] * np.linalg.norm(other, axis=1)[:, None]
        defined = (lengths > 0) & (sample.partners >= 0)[:, None]
        cosines = np.divide(products, lengths, out=np.ones_like(products), where=defined)
        return (1 - cosines).sum(axis=1), defined.sum(axis=1)

    def draws(self, samples: list[Any]) -> Draws:
        """Combine the sums of several draws."""
        sums, decisive, even = (np.stack(parts) for parts in zip(*map(self.sums, samples), strict=True))
        whole = sums.sum(axis=1, keepdims=True)
        replicates, found, at = np.concatenate([whole, whole - sums], axis=1), {}, 0
        for name, shape in self.shapes.items():
            width = int(np.prod(shape))
            found[name] = replicates[:, :, at : at + width].reshape(*replicates.shape[:2], *shape)
            at += width
        rows = len(samples[0]) // self.size
        found |= {"null": replicates[:, :, -2], "nulls": replicates[:, :, -1]}
        return Draws(found, self.pivot, decisive, even, rows)


def _moments(population: Population) -> Iterator[tuple[str, np.ndarray]]:
    """Yield contributions of samples to moments around the mean of the population."""
    orbit = population.responses[:, :ELEMENTS].reshape(len(population), ELEMENTS, -1).astype(np.float64)
    offsets = orbit - orbit.mean(axis=0)
    yield "count", np.ones(len(orbit))
    yield "within", np.square(orbit - orbit.mean(axis=1, keepdims=True)).sum(axis=1)
    yield "columns", offsets
    yield "total", np.square(offsets).sum(axis=1)
    yield "rest", np.square(offsets[:, 0]).sum(axis=1)
    yield "unusual", (orbit != 0).any(axis=1).astype(float)


def _of_tables(population: Population, tables: Tables) -> Iterator[tuple[str, np.ndarray]]:
    """Yield contributions of samples from the measures' own tables."""
    moves = tables(iv.Stability())
    yield from ((name, moves[name].sum(axis=1)) for name in ("moved", "noisy"))
    deviations = tables(iv.EquivarianceDeviation())
    yield "deviation", (deviations["sum"] + deviations["count"]).sum(axis=1)
    yield "deviations", deviations["count"].sum(axis=1)
    gaps = tables(iv.WorstElement())
    yield "gap", gaps["gap"]
    yield "size", gaps["size"].reshape(len(gaps["size"]))
    relative = tables(iv.EquivarianceError(feature_action="trivial"))
    errors = relative["error.0"]
    yield "errors", errors
    yield "sizes", relative["size.0"]
    yield (
        "mean_error",
        np.where(np.isfinite(errors), errors, 0).sum(1) / np.maximum(np.isfinite(errors).sum(1), 1),
    )
    yield "error", np.where(np.isfinite(errors), errors, 0).sum(axis=1)
    yield "defined", np.isfinite(errors).sum(axis=1).astype(float)
    top = tables(iv.Consistency())
    yield "agreeing", top["agreeing"].reshape(len(top["agreeing"]))
    yield "changed", (top["agreeing"] < 1).reshape(len(top["agreeing"])).astype(float)
    yield "kept", (top["agreeing"] > 0).reshape(len(top["agreeing"])).astype(float)
    yield "flips", (top["top"] != top["rest"]).astype(float)
    best = population.scores[:, :ELEMENTS].argmax(axis=2)
    yield "accuracy", (best == population.labels[:, None]).mean(axis=1)
    losses = tables(iv.Twirl())
    yield from ((name, losses[name].reshape(len(losses[name]))) for name in ("loss", "symmetry"))


def _means(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the (draw, replicate) mean over counted units that have a value."""
    kept = counted[:, None] & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(kept, values, 0).sum(axis=2) / kept.sum(axis=2)


def _summed(values: np.ndarray, alive: np.ndarray) -> np.ndarray:
    return np.einsum("dru,du->dr", values, alive.astype(float))


def _medians(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the (draw,) median over counted units."""
    return np.array([np.median(v[c]) if c.any() else 0.0 for v, c in zip(values, counted, strict=True)])
