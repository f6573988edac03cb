"""Partners: for each sample, the other sample whose response replaces its own in a null."""

from __future__ import annotations

import numpy as np


def partners(count: int) -> np.ndarray:
    """Return each sample's partner: its neighbour; if the number is odd, the last three form a cycle.

    >>> partners(4).tolist(), partners(5).tolist()
    ([1, 0, 3, 2], [1, 0, 3, 4, 2])
    """
    found = np.arange(count) ^ 1
    if count % 2:
        found[-3:] = np.array([count - 2, count - 1, count - 3])[-count:] if count > 1 else -1
    return found
