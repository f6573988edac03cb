"""Sums of squares per unit in a two-way layout, and the tests based on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from invariscope.measures.values import UnitValues
from invariscope.measures.variance_parts import Parts
from invariscope.statistics.moments.variances import Moments
from invariscope.statistics.rounding import quotient

# A residual this much smaller than the variation along orbits is the rounding error of a difference of sums.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class SumsOfSquares:
    """Sums of squares per unit, (replicate, unit...), from the moments.

    Args:
        moments: the layer's moments.
        parts: its spreads and thresholds, as used by the variance measures.
        sparse: (unit...) mask of units to leave out in addition to the dead ones.
        min_firing: the threshold for sparse units, see `VarianceMeasure`.
    """

    moments: Moments
    parts: Parts
    sparse: np.ndarray
    min_firing: int = 0

    @cached_property
    def transform(self) -> np.ndarray:
        """n·Σ_j (ā_j − ā)²."""
        found = self.moments.samples * (self.moments.elements - 1) * self.moments.element_variance
        found[:, self.unmoved] = 0.0
        return found

    @cached_property
    def residual(self) -> np.ndarray:
        """Σ_ij (a_ij − ā_i − ā_j + ā)²."""
        found = np.maximum(self.moments.within - self.transform, 0)
        found[:, self.unmoved | self.plain] = 0.0
        return found

    @cached_property
    def sample(self) -> np.ndarray:
        """m·Σ_i (ā_i − ā)²."""
        return np.maximum(self._across - self.residual, 0)

    @cached_property
    def _across(self) -> np.ndarray:
        return self.moments.elements * (self.moments.samples - 1) * self.moments.sample_variance

    @cached_property
    def total(self) -> np.ndarray:
        """Σ_ij (a_ij − ā)²."""
        return self._across + self.transform

    @cached_property
    def unmoved(self) -> np.ndarray:
        """Mask of units whose response the transformation does not change."""
        return self.moments.transformation_variance[0] <= self.parts.threshold

    @cached_property
    def plain(self) -> np.ndarray:
        """Mask of units without a residual: the transformation changes them equally for every sample."""
        n, m = self.moments.samples.flat[0], self.moments.elements
        left = self.moments.within[0] - n * (m - 1) * self.moments.element_variance[0]
        rounding = self.parts.threshold * ((n - 1) * (m - 1))
        return left <= np.maximum(rounding, _ROUNDING * self.moments.within[0])

    @cached_property
    def valid(self) -> np.ndarray:
        """Mask of units that are neither dead nor sparse."""
        return np.asarray(~self.parts.dead & ~self.sparse)

    @cached_property
    def f(self) -> np.ndarray:
        """Two-way F of the transformation against the residual."""
        found = quotient((self.moments.samples - 1) * self.transform, self.residual)
        found[:, self.unmoved] = 0.0
        found[:, self.parts.dead] = np.nan
        return found

    @cached_property
    def f_oneway(self) -> np.ndarray:
        """One-way F, as published."""
        found = quotient(self.moments.samples * self.moments.element_variance, self.moments.sample_variance)
        found[:, self.unmoved] = 0.0
        found[:, self.parts.still & ~self.unmoved] = np.inf
        found[:, self.parts.dead] = np.nan
        return found

    @cached_property
    def unpaired_sample(self) -> np.ndarray:
        """(unit...) expected `sample` if each element acted on an independently drawn sample."""
        return self._across[0] / self.moments.elements

    @cached_property
    def unpaired_residual(self) -> np.ndarray:
        """(unit...) expected `residual` if each element acted on an independently drawn sample."""
        return self._across[0] - self.unpaired_sample

    def share(self, part: np.ndarray, *, null: np.ndarray | None = None) -> UnitValues:
        """Return a part's share of the total, per unit and for the layer.

        Args:
            part: sum of squares.
            null: its expected value if each element acted on an independently drawn sample.
        """
        values, chance = quotient(part, self.total), None if null is None else quotient(null, self.total[0])
        values[:, self.parts.dead] = np.nan
        found = self.units(values, ratio=self.parts.ratio(part, self.total))
        found = replace(found, ratio_error=self.parts.ratio_error(part, self.total))
        rare = self.parts.uncovered(found.counted, self.min_firing)
        return replace(found, null=chance, uncovered=rare, reach=self.parts.reach)

    def units(
        self, values: np.ndarray, *, ratio: np.ndarray | None = None, uncovered: str = ""
    ) -> UnitValues:
        """Return values of units, and a mask of those in the layer's mean: valid, with a finite value."""
        infinite = np.isinf(values[0])
        counted = self.valid & ~infinite
        return UnitValues(
            values,
            counted,
            dead=int(self.parts.dead.sum()),
            sparse=int(self.sparse.sum()),
            infinite=int((infinite & self.valid).sum()),
            ratio=ratio,
            uncovered=uncovered,
            draw=self.parts.draw,
        )


@dataclass(frozen=True)
class FTests:
    """Tests of the transformation's effect on the mean of each valid unit.

    Args:
        table: the sums of squares.
        epsilon: (replicate, unit...) factor of the degrees of freedom; None means 1.
    """

    table: SumsOfSquares
    epsilon: np.ndarray | None

    def _freedom(self, replicate: int) -> tuple[float, float]:
        n, m = self.table.moments.samples.flat[replicate], self.table.moments.elements
        return m - 1.0, (m - 1.0) * (n - 1.0)

    @cached_property
    def p(self) -> np.ndarray:
        """(replicate, unit...) p-values; without `epsilon`, only those of replicate 0."""
        replicates = range(len(self.table.f) if self.epsilon is not None else 1)
        return np.stack([self._p(r) for r in replicates])

    def _p(self, replicate: int) -> np.ndarray:
        f = self.table.f[replicate]
        found, alive = np.where(np.isinf(f), 0.0, f), np.isfinite(f) & ~self.table.unmoved
        found[self.table.unmoved & ~self.table.parts.dead] = 1.0
        factor = self.epsilon[replicate][alive] if self.epsilon is not None else 1.0
        found[alive] = f_survival(f[alive], *self._freedom(replicate), factor)
        return found

    def rejecting(self, correction: str, alpha: float) -> np.ndarray:
        """Return the (1,) share of valid units whose test rejects, using all samples.

        Levels are corrected for the number of valid units in the layer, which is estimated if units were
        drawn.
        """
        valid, draw = self.table.valid, self.table.parts.draw
        count = int(valid.sum())
        tests = count if draw is None else round(count * draw.total / draw.count)
        values = (self.p if self.epsilon is not None else self.table.f)[0][valid]
        freedom = None if self.epsilon is not None else self._freedom(0)
        return np.array([share_rejecting(correction, count, alpha, _counter(values, freedom), tests)])


def _counter(values: np.ndarray, freedom: tuple[float, float] | None) -> Callable[[float], int]:
    """Return a function that counts the p-values at or below a level.

    F values are compared with the critical F, which is cheaper than computing p-values.
    """
    if freedom is None:
        return lambda level: int(np.count_nonzero(values <= level))
    return lambda level: int(np.count_nonzero(values >= f_critical(level, *freedom)))


CORRECTIONS = ("bonferroni", "benjamini_hochberg", "benjamini_yekutieli")


def share_rejecting(
    correction: str, count: int, alpha: float, below: Callable[[float], int], tests: int | None = None
) -> float:
    """Return the share of `count` tests that reject; NaN if there are none.

    Bonferroni rejects p ≤ α/K. Benjamini and Hochberg reject the k smallest p for the largest k with at least
    k of them at or below αk/K; repeated counting from above finds that k without sorting and without
    p-values. Benjamini and Yekutieli divide α by Σ 1/k, k = 1..K.

    Args:
        correction: one of `CORRECTIONS`.
        count: number of tests that `below` counts.
        alpha: the level.
        below: counts the tests with a p-value at or below its argument.
        tests: total number of tests K, if those counted are a random sample of them; by default, `count`.
    """
    if not count:
        return float("nan")
    tests = count if tests is None else tests
    if correction == "bonferroni":
        return below(alpha / tests) / count
    if correction == "benjamini_yekutieli":
        alpha /= float(special.digamma(tests + 1) + np.euler_gamma)
    found, last = count, -1
    while found not in (0, last):
        found, last = below(alpha * found / count), found
    return found / count


def f_survival(
    f: np.ndarray, above: float | np.ndarray, below: float | np.ndarray, factor: float | np.ndarray = 1.0
) -> np.ndarray:
    """Return P(F > f) with `factor` times the given degrees of freedom; NaN for NaN or without freedom.

    >>> f_survival(np.array([0.0, 1.0, np.inf]), 1, 1)
    array([1. , 0.5, 0. ])
    """
    with np.errstate(invalid="ignore"):  # 0 degrees of freedom, and f = 0
        share = below / (below + above * f)
    return special.betainc(factor * below / 2, factor * above / 2, share)


def f_critical(p: float, above: float, below: float) -> float:
    """Return the f with P(F > f) = p, accurate for tiny p.

    >>> round(f_critical(0.5, 1, 1), 12)
    1.0
    """
    rest = float(special.betaincinv(below / 2, above / 2, p))
    return float("inf") if rest == 0 else below * (1 - rest) / (above * rest)
