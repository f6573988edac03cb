"""Variances of a layer's responses, computed from sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from invariscope.statistics.rounding import quotient


@dataclass(frozen=True)
class Moments:
    """Sums over n samples and m elements, per unit, and the variances computed from them.

    Arrays are (replicate, unit...): replicate 0 uses every sample, the others leave a group out. If they are
    of several strata (`StrataMoments`), these come first among the units: (replicate, stratum, unit...).
    With h_ij = a_ij − p_j for a reference orbit p, and E_j = Σ_i h_ij:

    Args:
        samples: (replicate, 1...) number of samples n.
        elements: number of elements m.
        squared: Σ_j E_j².
        moving: Σ_j (ā_j − ā)².
        within: Σ_ij (a_ij − ā_i)².
        total: Σ_ij h_ij².
        unusual: (unit...) number of clusters (or samples, without clusters) that deviate from the unit's
            usual response.
        clusters: number of clusters.
        decisive: (3,) number of clusters, Σ d and Σ d² over clusters, where d is a cluster's contribution to
            `within`, summed over units.
        mean: (unit...) mean response ā.
        double: whether the activations were float64.
        row_deviations: Σ_i std_j a_ij, if standard deviations were requested.
        element_deviation: mean over j of std_i a_ij, if standard deviations were requested.
        strata: whether there is an axis of strata.
    """

    samples: np.ndarray
    elements: int
    squared: np.ndarray
    moving: np.ndarray
    within: np.ndarray
    total: np.ndarray
    unusual: np.ndarray
    clusters: Any
    decisive: np.ndarray
    mean: np.ndarray
    double: bool
    row_deviations: np.ndarray | None = None
    element_deviation: np.ndarray | None = None
    strata: bool = False

    @cached_property
    def whole(self) -> Moments:
        """Replicate 0 alone, for values without an interval: most of the time is spent on the others."""
        if len(self.samples) == 1:
            return self
        summed = ("samples", "squared", "moving", "within", "total")
        return replace(self, **{name: getattr(self, name)[:1] for name in summed})

    @cached_property
    def transformation_variance(self) -> np.ndarray:
        """⟨Var_j a_ij⟩_i: mean over samples of the variance along the orbit."""
        return quotient(self.within, self.samples * (self.elements - 1))

    @cached_property
    def sample_variance(self) -> np.ndarray:
        """⟨Var_i a_ij⟩_j: mean over elements of the variance across samples."""
        n, m = self.samples, self.elements
        return quotient(np.maximum(self.total - quotient(self.squared, n), 0), m * (n - 1))

    @cached_property
    def element_variance(self) -> np.ndarray:
        """Var_j of the mean response to element j."""
        return quotient(self.moving, self.elements - 1)

    @cached_property
    def total_variance(self) -> np.ndarray:
        """Variance over all n·m responses."""
        n, m = self.samples, self.elements
        across = m * (n - 1) * self.sample_variance
        return (across + n * (m - 1) * self.element_variance) / (n * m - 1)

    @cached_property
    def transformation_deviation(self) -> np.ndarray:
        """⟨std_j a_ij⟩_i, if standard deviations were requested."""
        assert self.row_deviations is not None
        return quotient(self.row_deviations, self.samples)

    @cached_property
    def sample_deviation(self) -> np.ndarray:
        """⟨std_i a_ij⟩_j, if standard deviations were requested."""
        assert self.element_deviation is not None
        return self.element_deviation

    @cached_property
    def scale(self) -> np.ndarray:
        """(unit...) root mean square response."""
        n, m = self.samples[0], self.elements
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(self.mean**2 + (n * m - 1) / (n * m) * self.whole.total_variance[0])


@dataclass(frozen=True, eq=False)
class StrataMoments(Sequence[Moments]):
    """Moments of several strata, computed together.

    Args:
        together: all of them; `unusual` and `mean` are (stratum, unit...), `clusters` (stratum, 1...), and
            `decisive` (3, stratum).
    """

    together: Moments

    @classmethod
    def of(cls, one: Moments) -> StrataMoments:
        """Return the moments of a single stratum with an axis of strata."""
        moved = {name: getattr(one, name)[:, None] for name in _REPLICATED if getattr(one, name) is not None}
        units = {"unusual": one.unusual[None], "mean": one.mean[None], "decisive": one.decisive[:, None]}
        clusters = np.full((1,) * one.mean.ndim, one.clusters)[None]
        return cls(replace(one, **moved, **units, clusters=clusters, strata=True))

    def __len__(self) -> int:
        return len(self.together.mean)

    def __getitem__(self, stratum: Any) -> Any:
        if not isinstance(stratum, int):
            return [self[number] for number in range(len(self))[stratum]]
        whole = self.together
        if not -len(self) <= stratum < len(self):
            raise IndexError(stratum)
        moved = {n: getattr(whole, n)[:, stratum] for n in _REPLICATED if getattr(whole, n) is not None}
        units = {"unusual": whole.unusual[stratum], "mean": whole.mean[stratum]}
        units |= {"decisive": whole.decisive[:, stratum]}
        return replace(whole, **moved, **units, clusters=whole.clusters[stratum].item(), strata=False)


_REPLICATED = ("samples", "squared", "moving", "within", "total", "row_deviations", "element_deviation")
