"""Permutation tests: compare a statistic with its values under permuted labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from invariscope.common.draws import Stream, numpy_generator


@dataclass(frozen=True)
class Chance:
    """A statistic, compared with its values under permuted labels.

    Args:
        value: value with the original labels.
        mean, deviation: mean and standard deviation of the statistic over the permutations.
        p_value: two-sided, counting the value itself as one of the permutations.
    """

    value: float
    mean: float
    deviation: float
    p_value: float

    @property
    def z(self) -> float:
        """Z-score of the value relative to its permutations; NaN if the permuted values do not vary."""
        return (self.value - self.mean) / self.deviation if self.deviation > 0 else float("nan")


def against_permutations(
    statistic: Callable[[np.ndarray], float], labels: int, *, permutations: int, seed: int
) -> Chance:
    """Evaluate a statistic for the labels 0 .. labels - 1 in ascending order and in random orders.

    The p-value is twice that of the smaller tail. Both tails include permutations with an equal value.

    Raises:
        ValueError: fewer than one permutation.
    """
    if permutations < 1:
        raise ValueError(
            f"permutations must be at least 1, got {permutations}: 999 give p-values down to 0.002."
        )
    generator = numpy_generator(seed, Stream.CHANCE)
    value = statistic(np.arange(labels))
    if not np.isfinite(value):
        return Chance(value, *3 * (float("nan"),))
    drawn = np.array([statistic(generator.permutation(labels)) for _ in range(permutations)])
    # Equal up to rounding counts as equal: a permutation may exchange only labels with equal values.
    slack = 1e-9 * abs(value)
    tails = [(1 + int(beyond.sum())) for beyond in (drawn >= value - slack, drawn <= value + slack)]
    deviation = float(drawn.std(ddof=1)) if permutations > 1 else float("nan")
    return Chance(value, float(drawn.mean()), deviation, min(1.0, 2 * min(tails) / (1 + permutations)))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two vectors; NaN if one of them does not vary.

    >>> correlation(np.array([0.0, 0.0, 1.0, 1.0]), np.array([3.0, 3.0, 1.0, 1.0]))
    -1.0
    """
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else float("nan")
