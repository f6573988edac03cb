"""The default scale of an axis."""

from __future__ import annotations

import numpy as np

APART = 100.0  # ratio of values above which a linear axis hides all but the largest


def far_apart(values: np.ndarray) -> bool:
    """Return whether positive values differ by more than a factor of 100 and none is negative.

    Zeros and missing values, which a logarithmic axis cannot show, are ignored.

    >>> far_apart(np.array([5e-6, 0.1])), far_apart(np.array([0.01, 0.1])), far_apart(np.array([-1.0, 1e-6]))
    (True, False, False)
    """
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    return bool(len(positive) and known.min() >= 0 and positive.max() > APART * positive.min())
