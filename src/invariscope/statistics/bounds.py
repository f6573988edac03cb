"""Thresholds in the precision of what is compared with them."""

from __future__ import annotations

import numpy as np


def at_most(thresholds: np.ndarray, kind: np.dtype) -> np.ndarray:
    """The largest numbers of a floating type that are no larger than these.

    A response of that type exceeds the one exactly if it exceeds the other, so that float32 responses
    can be compared with float64 thresholds without being converted.

    >>> bool(at_most(np.array([0.1]), np.dtype(np.float32))[0] <= 0.1)
    True
    """
    near = thresholds.astype(kind)
    return np.where(near > thresholds, np.nextafter(near, -np.inf, dtype=kind), near)
