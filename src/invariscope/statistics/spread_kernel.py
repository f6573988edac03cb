"""The loop of the sample spread: every response is read once, a tile of units at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

TILE = 1024  # units: their sums stay in the nearest cache
_OPTIONS: Any = {"nogil": True, "cache": True, "boundscheck": False, "fastmath": {"reassoc"}}


@numba.njit(**_OPTIONS)
def add_offsets(rows, pivot, runs, sums, squares):
    """Adds the offsets of responses from a pivot, and their squares, to the sums of their buckets.

    Args:
        rows: (sample, unit) responses.
        pivot: (unit,) float64.
        runs: see `Membership.runs`.
        sums: (bucket, unit) changed in place.
        squares: (bucket,) of all units together, changed in place.
    """
    samples, starts, buckets = runs
    units = len(pivot)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        rest = pivot[left:right]
        for run in range(len(buckets)):
            into, total = sums[buckets[run], left:right], 0.0
            for i in samples[starts[run] : starts[run + 1]]:
                row = rows[i, left:right]
                for u in range(right - left):
                    away = np.float64(row[u]) - rest[u]
                    into[u] += away
                    total += away * away
            squares[buckets[run]] += total
