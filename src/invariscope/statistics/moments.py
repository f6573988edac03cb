"""Variances of a layer's responses, from their sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from invariscope.statistics.base import replicate_sums


@dataclass(frozen=True)
class Moments:
    """Sums over n samples and m elements, per unit, and the variances that follow from them.

    Arrays are (replicate, unit...): replicate 0 uses every sample, the others leave a group out.
    With h_ij = a_ij − p_j for a fixed orbit p, E_j = Σ_i h_ij, and q_j = p_j − p̄:

    Args:
        samples: (replicate, 1...) number of samples n.
        elements: number of elements m.
        squared: Σ_j E_j².
        along: (group, unit...) Σ_j E_gj, of each group that a replicate leaves out.
        onto: (group, unit...) Σ_j q_j·E_gj.
        within: Σ_ij (a_ij − ā_i)².
        total: Σ_ij h_ij².
        unusual: (unit...) number of clusters (samples, if there are none) that give something other than the
            usual response of the unit.
        clusters: number of clusters.
        decisive: (2,) Σ d and Σ d² over clusters, d the part of `within` of all units that a cluster adds.
        pivot_mean: (unit...) p̄.
        pivot_squares: (unit...) Σ_j q_j².
        double: whether the activations were float64.
        row_deviations: Σ_i std_j a_ij, where standard deviations were asked for.
        element_deviation: mean over j of std_i a_ij, likewise.
    """

    samples: np.ndarray
    elements: int
    squared: np.ndarray
    along: np.ndarray
    onto: np.ndarray
    within: np.ndarray
    total: np.ndarray
    unusual: np.ndarray
    clusters: int
    decisive: np.ndarray
    pivot_mean: np.ndarray
    pivot_squares: np.ndarray
    double: bool
    row_deviations: np.ndarray | None = None
    element_deviation: np.ndarray | None = None

    @cached_property
    def whole(self) -> Moments:
        """Replicate 0 alone, for what needs no interval: most of the work is in the others."""
        if len(self.samples) == 1:
            return self
        alone = {name: getattr(self, name)[:1] for name in ("samples", "squared", "within", "total")}
        groups = {name: getattr(self, name).sum(axis=0, keepdims=True) for name in ("along", "onto")}
        return replace(self, **alone, **groups)

    @cached_property
    def transformation_variance(self) -> np.ndarray:
        """⟨Var_j a_ij⟩_i: mean over samples of the variance along the orbit."""
        return self.within / (self.samples * (self.elements - 1))

    @cached_property
    def sample_variance(self) -> np.ndarray:
        """⟨Var_i a_ij⟩_j: mean over elements of the variance across samples."""
        n, m = self.samples, self.elements
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(self.total - self.squared / n, 0) / (m * (n - 1))

    @cached_property
    def element_variance(self) -> np.ndarray:
        """Var_j of the mean response to element j."""
        n, m = self.samples, self.elements
        squares = self.pivot_squares + (2 * replicate_sums(self.onto) + self.squared / n) / n
        return np.maximum(squares - (replicate_sums(self.along) / n) ** 2 / m, 0) / (m - 1)

    @cached_property
    def total_variance(self) -> np.ndarray:
        """Variance over all n·m responses."""
        n, m = self.samples, self.elements
        across = m * (n - 1) * self.sample_variance
        return (across + n * (m - 1) * self.element_variance) / (n * m - 1)

    @cached_property
    def transformation_deviation(self) -> np.ndarray:
        """⟨std_j a_ij⟩_i; only where standard deviations were asked for."""
        assert self.row_deviations is not None
        return self.row_deviations / self.samples

    @cached_property
    def sample_deviation(self) -> np.ndarray:
        """⟨std_i a_ij⟩_j; only where standard deviations were asked for."""
        assert self.element_deviation is not None
        return self.element_deviation

    @cached_property
    def scale(self) -> np.ndarray:
        """(unit...) root mean square response."""
        n, m, whole = self.samples[0], self.elements, self.whole
        mean = self.pivot_mean + whole.along[0] / (n * m)
        return np.sqrt(mean**2 + (n * m - 1) / (n * m) * whole.total_variance[0])
