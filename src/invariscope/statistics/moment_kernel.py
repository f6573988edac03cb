"""The fused reduction of orbit blocks on the CPU: every activation is read once.

Two references keep cancellation away. Along an orbit it is the sample's own first response,
e_ij = a_ij − a_i0, so that the variance along orbits never suffers from the unit's offset or from
the spread between samples. Across samples it is one fixed orbit, h_ij = a_ij − p_j, so that the
variance across samples suffers neither from the offset nor from what the transformation does to all
samples alike. Plain sums around one shift lose exactly the invariant units (a normalized variance
of 1e-4 comes out wrong by 40 %). Responses become float64 before a reference is taken off: a float32
difference is rounded, and that rounding, although it is small beside the larger of two effects, drowns
a smaller one that has to be told from it (shares of 1e-6 come out wrong by up to 2 %).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numba
import numpy as np

TILE = 1024  # units per tile: long enough to be fetched ahead, short enough for its scratch to stay in cache
_SERIAL_BELOW = 1 << 20  # activations; smaller blocks are done before a thread wakes up
_OPTIONS: Any = {
    "nogil": True,
    "cache": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
}

# Two short loops, each over a few rows at a time, read a tile twice from the nearest cache. That is
# twice as fast as one loop for everything, which writes five running sums for every two rows and
# spends its time on proving that none of them overlap.


@numba.njit(**_OPTIONS)
def _along(flat, first, step, elements, sums, squares):
    """Σ_j e_j and Σ_j e_j² of one orbit; e_0 is zero."""
    width = len(sums)
    head = flat[first : first + width]
    sums[:] = 0.0
    squares[:] = 0.0
    j = 1
    while j + 2 < elements:
        at = first + j * step
        r1, r2, r3 = flat[at : at + width], flat[at + step :], flat[at + 2 * step :]
        for u in range(width):
            origin = np.float64(head[u])
            e1, e2, e3 = np.float64(r1[u]) - origin, np.float64(r2[u]) - origin, np.float64(r3[u]) - origin
            sums[u] += e1 + e2 + e3
            squares[u] += e1 * e1 + e2 * e2 + e3 * e3
        j += 3
    while j < elements:
        row = flat[first + j * step :]
        for u in range(width):
            e = np.float64(row[u]) - np.float64(head[u])
            sums[u] += e
            squares[u] += e * e
        j += 1


@numba.njit(**_OPTIONS)
def _across(flat, starts, step, pivot, column, spread):
    """Adds Σ_i h_i and Σ_i h_i² of one element's rows, which lie `step` behind `starts`."""
    width = len(column)
    i = 0
    while i + 3 < len(starts):
        r1, r2 = flat[starts[i] + step :], flat[starts[i + 1] + step :]
        r3, r4 = flat[starts[i + 2] + step :], flat[starts[i + 3] + step :]
        for u in range(width):
            origin = np.float64(pivot[u])
            h1, h2 = np.float64(r1[u]) - origin, np.float64(r2[u]) - origin
            h3, h4 = np.float64(r3[u]) - origin, np.float64(r4[u]) - origin
            column[u] += (h1 + h2) + (h3 + h4)
            spread[u] += (h1 * h1 + h2 * h2) + (h3 * h3 + h4 * h4)
        i += 4
    while i < len(starts):
        row = flat[starts[i] + step :]
        for u in range(width):
            h = np.float64(row[u]) - np.float64(pivot[u])
            column[u] += h
            spread[u] += h * h
        i += 1


@numba.njit(**_OPTIONS)
def _orbits(flat, starts, step, elements, width, spreads, moves):
    """Fills Σ_j (e_j − ē)² of each orbit, and whether any of its responses is other than zero."""
    sums, squares = np.empty(width), np.empty(width)
    for i in range(len(starts)):
        _along(flat, starts[i], step, elements, sums, squares)
        head, spread, moved = flat[starts[i] :], spreads[i], moves[i]
        for u in range(width):
            spread[u] = max(squares[u] - sums[u] * sums[u] / elements, 0.0)
            moved[u] = (squares[u] > 0.0) | (head[u] != 0)


@numba.njit(**_OPTIONS)
def _add_rows(parts, samples, sums):
    """Adds the parts of the given samples."""
    for i in samples:
        part = parts[i]
        for u in range(len(sums)):
            sums[u] += part[u]


@numba.njit(**_OPTIONS)
def _reduce(values, steps, runs, pivot, columns, within, total, firing, lo, hi):
    """Adds whole orbits to the sums of units lo..hi; returns a sum that is NaN or infinite if any is."""
    elements, units = pivot.shape
    samples, edges, buckets = runs
    flat, pivots, column_sums = values.reshape(-1), pivot.reshape(-1), columns.reshape(-1)
    starts = np.arange(samples.max() + 1) * steps[0] * units
    step, check = steps[1] * units, np.zeros(TILE)
    spreads, moves = np.empty((len(starts), TILE)), np.empty((len(starts), TILE), np.int64)
    for left in range(lo, hi, TILE):
        width = min(TILE, hi - left)
        right = left + width
        _orbits(flat, starts + left, step, elements, width, spreads, moves)
        for run in range(len(buckets)):
            bucket, members = buckets[run], samples[edges[run] : edges[run + 1]]
            _add_rows(spreads, members, within[bucket, left:right])
            _add_rows(moves, members, firing[bucket, left:right])
            spread = total[bucket, left:right]
            for few in range(0, len(members), 4):
                rows = starts[members[few : few + 4]] + left
                for j in range(elements):
                    column = (bucket * elements + j) * units
                    into = column_sums[column + left : column + right]
                    _across(flat, rows, j * step, pivots[j * units + left :], into, spread)
            check[:width] += spread
    return check.sum()


def reduce_orbits(values, steps, runs, pivot, columns, within, total, firing, *, threads):
    """Adds a block of whole orbits to the sums of the buckets in which its samples are counted.

    Args:
        values: (row, unit), C-contiguous float32 or float64.
        steps: (sample step, element step): the response to element j of sample i is row i·s + j·e.
        runs: see `Membership.runs`.
        pivot: (element, unit) in the dtype of `values`: the fixed orbit p_j.
        columns: (bucket, element, unit) float64: Σ_i h_ij.
        within, total: (bucket, unit) float64: Σ_ij (e_ij − ē_i)² and Σ_ij h_ij².
        firing: (bucket, unit) int64: samples with a response other than zero.
        threads: how many threads may share the units.
    Returns:
        Whether all of it was finite.
    """
    units = values.shape[1]
    reduce: Any = partial(_reduce, values, steps, runs, pivot, columns, within, total, firing)
    if threads == 1 or len(runs[0]) * len(pivot) * units < _SERIAL_BELOW:
        return np.isfinite(reduce(0, units))
    share = -(-units // threads)
    share += -share % TILE
    pool = _pool(threads)
    parts = [pool.submit(reduce, lo, min(lo + share, units)) for lo in range(0, units, share)]
    return np.isfinite(sum(part.result() for part in parts))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="invariscope")


@numba.njit(**_OPTIONS)
def _column_products(columns, centred, squared, along, onto):
    """Fills Σ_j E_j² by replicate, and Σ_j E_gj and Σ_j q_j·E_gj by group; see `column_products`."""
    groups, elements, units = columns.shape
    column = np.empty(TILE)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        for j in range(elements):
            q = centred[j, left:right]
            column[:] = 0.0
            for g in range(groups):
                part, sums, products = columns[g, j, left:right], along[g, left:right], onto[g, left:right]
                for u in range(width):
                    column[u] += part[u]
                    sums[u] += part[u]
                    products[u] += q[u] * part[u]
            whole = squared[0, left:right]
            for u in range(width):
                whole[u] += column[u] * column[u]
            for g in range(len(squared) - 1):
                part, without = columns[g, j, left:right], squared[1 + g, left:right]
                for u in range(width):
                    without[u] += (column[u] - part[u]) * (column[u] - part[u])


def column_products(columns, centred):
    """What the variances need of the column sums, for all groups and for all but each, in one reading.

    Args:
        columns: (group, element, unit) sums E_gj of h_ij over the samples of each group.
        centred: (element, unit) the fixed orbit minus its mean, q_j.
    Returns:
        Σ_j E_j² as (replicate, unit), and Σ_j E_gj and Σ_j q_j·E_gj as (group, unit).
    """
    groups, _, units = columns.shape
    squared = np.zeros((groups + 1 if groups > 1 else 1, units))
    along, onto = np.zeros((groups, units)), np.zeros((groups, units))
    _column_products(columns, centred, squared, along, onto)
    return squared, along, onto
