"""Variances of a layer's responses, from their sums."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Sums over n samples and m elements, per unit, and the variances that follow from them.

    Arrays are (replicate, unit...): replicate 0 uses every sample, the others leave a group out.
    With d_ij = a_ij − a_i0 and a fixed reference c (`pivot`):

    Args:
        samples: (replicate, 1...) number of samples n.
        elements: number of elements m.
        squared_columns: Σ_j (Σ_i d_ij)².
        steps: Σ_ij d_ij.
        base: Σ_i (a_i0 − c).
        within: Σ_ij (d_ij − d̄_i)².
        total: Σ_ij (a_ij − c)².
        firing: (unit...) number of samples with a response other than zero.
        pivot: (unit...) the reference c.
        double: whether the activations were float64.
        row_deviations: Σ_i std_j a_ij, where standard deviations were asked for.
        element_deviation: mean over j of std_i a_ij, likewise.
    """

    samples: np.ndarray
    elements: int
    squared_columns: np.ndarray
    steps: np.ndarray
    base: np.ndarray
    within: np.ndarray
    total: np.ndarray
    firing: np.ndarray
    pivot: np.ndarray
    double: bool
    row_deviations: np.ndarray | None = None
    element_deviation: np.ndarray | None = None

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean response minus the reference."""
        return (self.elements * self.base + self.steps) / (self.samples * self.elements)

    @cached_property
    def transformation_variance(self) -> np.ndarray:
        """⟨Var_j a_ij⟩_i: mean over samples of the variance along the orbit."""
        return self.within / (self.samples * (self.elements - 1))

    @cached_property
    def sample_variance(self) -> np.ndarray:
        """⟨Var_i a_ij⟩_j: mean over elements of the variance across samples."""
        n, m = self.samples, self.elements
        squared_sums = self.base * (m * self.base + 2 * self.steps) + self.squared_columns
        return _ratio(np.maximum(self.total - squared_sums / n, 0), m * (n - 1))

    @cached_property
    def element_variance(self) -> np.ndarray:
        """Var_j of the mean response to element j."""
        m = self.elements
        spread = np.maximum(self.squared_columns - self.steps**2 / m, 0)
        return spread / (self.samples**2 * (m - 1))

    @cached_property
    def total_variance(self) -> np.ndarray:
        """Variance over all n·m responses."""
        count = self.samples * self.elements
        return np.maximum(self.total - count * self.mean**2, 0) / (count - 1)

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
        mean_square = self.total[0] / (self.samples[0] * self.elements)
        return np.sqrt(np.maximum(mean_square + self.pivot * (2 * self.mean[0] + self.pivot), 0))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / denominator
