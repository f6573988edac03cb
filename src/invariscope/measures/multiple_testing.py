"""Corrections for multiple testing: how many of many tests reject."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

CORRECTIONS = ("bonferroni", "benjamini_hochberg", "benjamini_yekutieli")


def share_rejecting(correction: str, count: int, alpha: float, below: Callable[[float], int]) -> float:
    """Return the share of `count` tests that reject; NaN if there are none.

    Bonferroni rejects p ≤ α/K. Benjamini and Hochberg reject the k smallest p for the largest k with at least
    k of them at or below αk/K; repeated counting from above finds that k without sorting and without
    p-values. Benjamini and Yekutieli divide α by Σ 1/k, k = 1..K.

    Args:
        correction: one of `CORRECTIONS`.
        count: number of tests, K.
        alpha: the level.
        below: counts the tests with a p-value at or below its argument.
    """
    if not count:
        return float("nan")
    if correction == "bonferroni":
        return below(alpha / count) / count
    if correction == "benjamini_yekutieli":
        alpha /= float(special.digamma(count + 1) + np.euler_gamma)
    found, last = count, -1
    while found not in (0, last):
        found, last = below(alpha * found / count), found
    return found / count


def f_survival(
    f: np.ndarray, above: float | np.ndarray, below: float | np.ndarray, factor: float | np.ndarray = 1.0
) -> np.ndarray:
    """Return P(F > f) with `factor` times the given degrees of freedom; NaN for NaN.

    >>> f_survival(np.array([0.0, 1.0, np.inf]), 1, 1)
    array([1. , 0.5, 0. ])
    """
    return special.betainc(factor * below / 2, factor * above / 2, below / (below + above * f))


def f_critical(p: float, above: float, below: float) -> float:
    """Return the f with P(F > f) = p, accurate for tiny p.

    >>> round(f_critical(0.5, 1, 1), 12)
    1.0
    """
    rest = float(special.betaincinv(below / 2, above / 2, p))
    return float("inf") if rest == 0 else below * (1 - rest) / (above * rest)
