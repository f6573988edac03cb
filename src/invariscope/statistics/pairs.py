"""Which sample stands in for another where pairing is to be destroyed."""

from __future__ import annotations

import numpy as np


def partners(count: int) -> np.ndarray:
    """The partner of each of a few samples: its neighbour, the last three of an odd number in a cycle.

    >>> partners(4).tolist(), partners(5).tolist()
    ([1, 0, 3, 2], [1, 0, 3, 4, 2])
    """
    found = np.arange(count) ^ 1
    if count % 2:
        found[-3:] = np.array([count - 2, count - 1, count - 3])[-count:] if count > 1 else -1
    return found
