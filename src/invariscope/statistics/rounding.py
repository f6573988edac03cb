"""Differences and ratios in which rounding errors count as zero."""

from __future__ import annotations

from typing import Any

import numpy as np

_LEFT = 64 * float(np.finfo(np.float64).eps)


def without_rounding(difference: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Return differences of float64 sums of size `parts`, with 0 for those that rounding alone can cause.

    >>> without_rounding(np.array([1e-16, 1e-3, np.nan]), np.ones(3))
    array([0.   , 0.001,   nan])
    """
    return np.where(difference <= _LEFT * parts, 0.0, difference)


def quotient(above: Any, below: Any) -> Any:
    """Return above / below without a warning: infinite for x/0, NaN for 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(above, below)


def ratio(above: np.ndarray, below: np.ndarray, *, rounding: np.ndarray | float = 0.0) -> np.ndarray:
    """Return above / below: infinite if the denominator is within rounding of 0, NaN if both are.

    >>> ratio(np.array([1.0, 1.0, 1e-9]), np.array([2.0, 0.0, 1e-9]), rounding=1e-8)
    array([0.5, inf, nan])
    """
    nothing = np.abs(below) <= rounding
    silent = np.where(np.abs(above) <= rounding, np.nan, np.inf)
    return np.where(nothing, silent, quotient(above, below))
