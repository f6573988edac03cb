"""The default scale of an axis, and the ticks of logarithmic axes."""

from __future__ import annotations

import math

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


def log_ticks(values: np.ndarray) -> list[float]:
    """Return round numbers around positive values for a logarithmic axis, with two more decades at each end.

    The more decades the values span, the fewer numbers per decade.

    >>> [tick for tick in log_ticks(np.array([0.4, 30.0])) if 0.4 <= tick <= 30]
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    known = values[np.isfinite(values) & (values > 0)]
    low, high = np.log10([known.min(), known.max()]).tolist() if len(known) else (0.0, 0.0)
    span = high - low
    parts = (1, 1.5, 2, 3, 4, 5, 7) if span < 0.7 else (1, 2, 5) if span < 3 else (1,)
    step = max(1, round(span / 8))  # at most about eight decades are named
    decades = range(step * ((math.floor(low) - 2) // step), math.ceil(high) + 3, step)
    return [float(f"{part}e{decade}") for decade in decades for part in parts]
