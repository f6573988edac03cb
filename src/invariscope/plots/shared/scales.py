"""Which scale an axis gets that nobody chose."""

from __future__ import annotations

import numpy as np

APART = 100.0  # a factor between values from which on even steps hide all but the largest


def far_apart(values: np.ndarray) -> bool:
    """Whether the positive values differ by more than a factor of 100, and none is negative.

    Zeros and missing values are passed over: they have no place on a logarithmic axis, and no say in it.

    >>> far_apart(np.array([5e-6, 0.1])), far_apart(np.array([0.01, 0.1])), far_apart(np.array([-1.0, 1e-6]))
    (True, False, False)
    """
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    return bool(len(positive) and known.min() >= 0 and positive.max() > APART * positive.min())
