"""A seeded subset of each bucket, whatever the order: the samples with the smallest drawn numbers."""

from __future__ import annotations

import numpy as np


def smallest(keys: np.ndarray, buckets: np.ndarray, size: int) -> np.ndarray:
    """Rows of the `size` smallest keys of each bucket.

    >>> smallest(np.array([5, 1, 3, 2]), np.array([0, 0, 0, 1]), 2).tolist()
    [1, 2, 3]
    """
    order = np.lexsort((keys, buckets))
    _, starts, sizes = np.unique(buckets[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return order[rank < size]


def of_stratum(
    keys: np.ndarray, buckets: np.ndarray, groups: list[list[int]], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the `size` smallest keys in all the given buckets together, and the group of each.

    >>> of_stratum(np.array([5, 1, 3, 2]), np.array([0, 0, 1, 2]), [[0], [1]], 2)
    (array([1, 2]), array([0, 1]))
    """
    group = np.full(len(keys), -1)
    for number, members in enumerate(groups):
        group[np.isin(buckets, members)] = number
    rows = np.flatnonzero(group >= 0)
    rows = rows[np.argsort(keys[rows], kind="stable")[:size]]
    return rows, group[rows]
