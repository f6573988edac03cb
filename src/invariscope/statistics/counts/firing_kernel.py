"""The compiled loops of the firing statistics, which read every response once, in tiles of units."""

from __future__ import annotations

from typing import Any

import numpy as np

from invariscope.statistics.compiling import compiled
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.visits import Visits

TILE = 512  # units per tile: the smallest values of their heaps, or their counts, stay in the L1 cache
_OPTIONS: Any = {"boundscheck": False, "error_model": "numpy"}


@compiled(**_OPTIONS)
def _replace_least(heap, value):
    """Replace the smallest value and restore the heap."""
    size, at = len(heap), 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = value


@compiled(**_OPTIONS)
def _keep_largest(rows, largest):
    units = rows.shape[1]
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        high, low = largest[0, left:right, 0].copy(), -largest[1, left:right, 0]
        for r in range(len(rows)):
            row = rows[r, left:right]
            for u in range(right - left):
                if row[u] > high[u]:
                    _replace_least(largest[0, left + u], row[u])
                    high[u] = largest[0, left + u, 0]
                if row[u] < low[u]:
                    _replace_least(largest[1, left + u], -row[u])
                    low[u] = -largest[1, left + u, 0]


def keep_largest(rows: np.ndarray, largest: np.ndarray) -> None:
    """Insert every response, and its negative, into its unit's heap if it exceeds the smallest value there.

    Args:
        rows: (row, unit) responses.
        largest: (2, unit, kept) heaps, changed in place.
    Raises:
        ValueError: sizes that do not match.
    """
    refuse_sizes(heaps=(largest.shape[:2], (2, rows.shape[1])))
    refuse_places(least=(0, largest.shape[2]))
    _keep_largest(rows, largest)


@compiled(**_OPTIONS)
def _add(sums, first, fired):
    """Add one sample's orbit to the counts of one sign."""
    for u in range(len(fired)):
        fires = np.int64(first[u])
        sums[0, u] += fires
        sums[1, u] += fires * fired[u]
        sums[2, u] += fired[u]


@compiled(**_OPTIONS)
def _count_firing(rows, places, first, bounds, samples, edges, buckets, sums):
    units = rows.shape[1]
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        high, low = bounds[0, left:right], bounds[1, left:right]
        above, below = np.empty(width, np.int32), np.empty(width, np.int32)
        for run in range(len(buckets)):
            into = sums[buckets[run], :, :, left:right]
            for i in samples[edges[run] : edges[run + 1]]:
                above[:] = 0
                below[:] = 0
                for j in range(places.shape[1]):
                    row = rows[places[i, j], left:right]
                    for u in range(width):
                        above[u] += row[u] > high[u]
                        below[u] += row[u] < low[u]
                start = rows[first[i], left:right]
                _add(into[:, 0], start > high, above)
                _add(into[:, 1], start < low, below)


def count_firing(
    rows: np.ndarray,
    places: np.ndarray,
    first: np.ndarray,
    bounds: np.ndarray,
    visits: Visits,
    sums: np.ndarray,
) -> None:
    """Add a block's orbits to the counts of their buckets.

    Args:
        rows: (row, unit) responses.
        places: (sample, element) rows of each orbit.
        first: (sample,) rows of the untransformed inputs.
        bounds: (2, unit) thresholds: a response above the first, or below the second, counts as firing.
        visits: which samples are added to which buckets.
        sums: (bucket, 3, 2, unit) int64, see `FiringCounts`.
    Raises:
        ValueError: sizes that do not match.
    """
    sample, bucket, _ = visits.reach
    units = rows.shape[1:]
    refuse_sizes(bounds=(bounds.shape, (2, *units)), sums=(sums.shape[1:], (3, 2, *units)))
    refuse_places(places=(places, len(rows)), first=(first, len(rows)))
    refuse_places(sample=(sample, min(len(places), len(first))), bucket=(bucket, len(sums)))
    _count_firing(rows, places, first, bounds, visits.samples, visits.edges, visits.buckets, sums)


def at_most(thresholds: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Return, for each number, the largest number of a floating type that does not exceed it.

    A response of that type exceeds the result if and only if it exceeds the number, so float32 responses can
    be compared with float64 thresholds without conversion.

    >>> bool(at_most(np.array([0.1]), np.dtype(np.float32))[0] <= 0.1)
    True
    """
    near = thresholds.astype(kind)
    return np.where(near > thresholds, np.nextafter(near, -np.inf, dtype=kind), near)
