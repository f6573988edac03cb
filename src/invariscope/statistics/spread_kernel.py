"""The compiled loop of the sample spread; reads every response once, in tiles of units."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.visits import Visits

TILE = 1024  # units, whose sums stay in the L1 cache
_OPTIONS: Any = {"nogil": True, "cache": True, "boundscheck": False, "fastmath": {"reassoc"}}


@numba.njit(**_OPTIONS)
def _add_offsets(rows, pivots, samples, starts, buckets, strata, sums, squares):
    units = rows.shape[1]
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        for run in range(len(buckets)):
            into, total = sums[buckets[run], left:right], 0.0
            rest = pivots[strata[run], left:right]
            for i in samples[starts[run] : starts[run + 1]]:
                row = rows[i, left:right]
                for u in range(right - left):
                    away = np.float64(row[u]) - rest[u]
                    into[u] += away
                    total += away * away
            squares[buckets[run]] += total


def add_offsets(
    rows: np.ndarray, pivots: np.ndarray, visits: Visits, sums: np.ndarray, squares: np.ndarray
) -> None:
    """Add the offsets of responses from their stratum's pivot, and their squares, to their buckets.

    Args:
        rows: (sample, unit) responses.
        pivots: (stratum, unit) float64.
        visits: which samples are added to which buckets.
        sums: (bucket, unit) changed in place.
        squares: (bucket,) summed over units, changed in place.
    Raises:
        ValueError: sizes that do not match.
    """
    sample, bucket, stratum = visits.reach
    units = rows.shape[1:]
    refuse_sizes(
        pivots=(pivots.shape[1:], units),
        sums=(sums.shape[1:], units),
        squares=(squares.shape, sums.shape[:1]),
    )
    refuse_places(sample=(sample, len(rows)), bucket=(bucket, len(sums)), stratum=(stratum, len(pivots)))
    parts = (visits.samples, visits.edges, visits.buckets, visits.strata)
    _add_offsets(rows, pivots, *parts, sums, squares)
