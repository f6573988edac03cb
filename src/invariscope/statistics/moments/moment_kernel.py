"""The fused reduction of orbit blocks on the CPU, which reads every activation once.

Two references avoid cancellation. Along an orbit, the sample's own first response is subtracted, e_ij = a_ij
− a_i0, so that neither the unit's offset nor the spread between samples affects the variance along orbits.
Across samples, one reference orbit per stratum is subtracted, h_ij = a_ij − p_j, so that neither the offset
nor the common effect of the transformation affects the variance across samples. Sums around a single shift
would be inaccurate for invariant units in particular (a normalized variance of 1e-4 would be off by 40 %).
Responses are converted to float64 before subtraction: the rounding of float32 differences, although small
relative to the larger of two effects, can exceed the smaller one (shares of 1e-6 would be off by up to 2 %).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

from invariscope.statistics.compiling import compiled
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.moments.orbit_kernel import OPTIONS, TILE, along
from invariscope.statistics.moments.orbit_state import OrbitState, Sums
from invariscope.statistics.moments.references import References, orbit_weights
from invariscope.statistics.visits import Visits

_SERIAL_BELOW = 1 << 20  # activations; smaller blocks finish before a thread starts

# Two short loops over a few rows at a time each read a tile from the L1 cache. They are twice as fast as a
# single loop, which would write five running sums for every two rows, with checks that none of them overlap.


@compiled(**OPTIONS)
def _across(flat, starts, step, pivot, column, spread):
    """Add Σ_i h_i and Σ_i h_i² of one element, whose rows begin `step` after `starts`."""
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
    while i + 1 < len(starts):
        r1, r2 = flat[starts[i] + step :], flat[starts[i + 1] + step :]
        for u in range(width):
            origin = np.float64(pivot[u])
            h1, h2 = np.float64(r1[u]) - origin, np.float64(r2[u]) - origin
            column[u] += h1 + h2
            spread[u] += h1 * h1 + h2 * h2
        i += 2
    if i < len(starts):
        row = flat[starts[i] + step :]
        for u in range(width):
            h = np.float64(row[u]) - np.float64(pivot[u])
            column[u] += h
            spread[u] += h * h


@compiled(fastmath={"reassoc", "contract", "nsz"})
def _spread(sums, squares, elements, spread):
    """Fill Σ_j (e_j − ē)² and return its sum over units."""
    total = 0.0
    for u in range(len(spread)):
        found = max(squares[u] - sums[u] * sums[u] / elements, 0.0)
        spread[u] = found
        total += found
    return total


@compiled(**OPTIONS)
def _orbits(flat, starts, step, weights, width, spreads, weighted, contributions):
    """Fill Σ_j (e_j − ē)² and the weighted sum of each orbit; add Σ_ju (e_j − ē)² to `contributions`."""
    sums, squares = np.empty(width), np.empty(width)
    for i in range(len(starts)):
        along(flat, starts[i], step, weights, sums, squares, weighted[i, :width])
        contributions[i] += _spread(sums, squares, len(weights), spreads[i, :width])


@compiled(**OPTIONS)
def _add_rows(parts, samples, sums):
    """Add the rows of the given samples."""
    i = 0
    while i + 3 < len(samples):
        p1, p2, p3, p4 = (
            parts[samples[i]],
            parts[samples[i + 1]],
            parts[samples[i + 2]],
            parts[samples[i + 3]],
        )
        for u in range(len(sums)):
            sums[u] += (p1[u] + p2[u]) + (p3[u] + p4[u])
        i += 4
    while i < len(samples):
        part = parts[samples[i]]
        for u in range(len(sums)):
            sums[u] += part[u]
        i += 1


@compiled(**OPTIONS)
def _add_unusual(weighted, samples, usual, tolerance, counts):
    """Count, per unit, the samples that deviate from the usual response."""
    i = 0
    while i + 1 < len(samples):
        w1, w2 = weighted[samples[i]], weighted[samples[i + 1]]
        for u in range(len(counts)):
            first = 1.0 if abs(w1[u] - usual[u]) > tolerance[u] else 0.0
            counts[u] += first + (1.0 if abs(w2[u] - usual[u]) > tolerance[u] else 0.0)
        i += 2
    if i < len(samples):
        w1 = weighted[samples[i]]
        for u in range(len(counts)):
            counts[u] += 1.0 if abs(w1[u] - usual[u]) > tolerance[u] else 0.0


@compiled(**OPTIONS)
def _add_clusters(weighted, samples, first, usual, tolerance, counts):
    """Count, per unit, the clusters with a sample that deviates from the usual response."""
    together = np.zeros(len(counts))
    for k in range(len(samples)):
        if first[k]:
            for u in range(len(counts)):
                together[u] = 0.0
        _add_unusual(weighted, samples[k : k + 1], usual, tolerance, together)
        if k + 1 == len(samples) or first[k + 1]:
            for u in range(len(counts)):
                counts[u] += 1.0 if together[u] > 0 else 0.0


@compiled(**OPTIONS)
def _reduce(values, steps, runs, shape, weights, references, sums, overall, lo, hi):
    """Add whole orbits to the sums of units lo..hi; if `overall`, to the first bucket only what is unusual.

    Returns checksums, of which one is NaN or infinite if any response is, and each sample's Σ_ju (e_j − ē)².
    """
    samples, edges, buckets, strata, first = runs
    count, clustered = shape
    pivot, usual = references
    columns, within, total, unusual = sums
    _, elements, units = pivot.shape
    flat, pivots, column_sums = values.reshape(-1), pivot.reshape(-1), columns.reshape(-1)
    starts = np.empty(count, np.int64)
    step, check, rows = steps[1] * units, np.zeros(TILE), np.empty(4, np.int64)
    spreads, weighted = np.empty((count, TILE)), np.empty((count, TILE))
    contributions = np.zeros(count)
    for left in range(lo, hi, TILE):
        width = min(TILE, hi - left)
        right = left + width
        for i in range(count):
            starts[i] = i * steps[0] * units + left
        _orbits(flat, starts, step, weights, width, spreads, weighted, contributions)
        for run in range(len(buckets)):
            bucket, one, many = buckets[run], edges[run], edges[run + 1]
            members = samples[one:many]
            usually, counts = usual[strata[run], :, left:right], unusual[bucket, left:right]
            if clustered:
                _add_clusters(weighted, members, first[one:many], usually[0], usually[1], counts)
            else:
                _add_unusual(weighted, members, usually[0], usually[1], counts)
            if overall and bucket == 0:
                continue
            _add_rows(spreads, members, within[bucket, left:right])
            spread, fixed = total[bucket, left:right], strata[run] * elements * units + left
            for few in range(0, len(members), 4):
                some = min(4, len(members) - few)
                for i in range(some):
                    rows[i] = starts[members[few + i]]
                for j in range(elements):
                    column = (bucket * elements + j) * units
                    into = column_sums[column + left : column + right]
                    _across(flat, rows[:some], j * step, pivots[fixed + j * units :], into, spread)
            for u in range(width):
                check[u] += spread[u]
    return check, contributions


def reduce_orbits(
    values: np.ndarray, steps: tuple[int, int], visits: Visits, state: OrbitState, *, threads: int
) -> np.ndarray | None:
    """Add a block of whole orbits to the sums of the buckets in which its samples are counted.

    Args:
        values: (row, unit), C-contiguous float32 or float64.
        steps: (sample step, element step): the response to element j of sample i is row i·s + j·e.
        visits: which samples are added to which buckets; at least one.
        state: its sums are changed in place; it must hold the references of all visited strata.
        threads: maximum number of threads, among which the units are divided.
    Returns:
        (sample,) each sample's contribution to Σ_iju (a_ij − ā_i)²; None if a response is not finite.
    Raises:
        ValueError: sizes that do not match.
    """
    sums, references = state.sums, state.references
    pivot, usual = references.pivot, references.usual
    weights = orbit_weights(pivot.shape[1])
    _refuse_sizes(values, steps, visits, references, sums)
    runs = (visits.samples, visits.edges, visits.buckets, visits.strata, visits.first)
    shape = (int(visits.samples.max()) + 1, not bool(visits.first.all()))
    into = (sums.columns, sums.within, sums.total, sums.unusual)
    reduce: Any = partial(_reduce, values, steps, runs, shape, weights, (pivot, usual), into, state.overall)
    units = values.shape[1]
    if threads == 1 or len(visits.samples) * pivot.shape[1] * units < _SERIAL_BELOW:
        parts = [reduce(0, units)]
    else:
        share = -(-units // threads)
        share += -share % TILE
        pool = _pool(threads)
        futures = [pool.submit(reduce, lo, min(lo + share, units)) for lo in range(0, units, share)]
        parts = [future.result() for future in futures]
    check, contributions = parts[0]
    for other, more in parts[1:]:
        check += other
        contributions += more
    return contributions if math.isfinite(check.sum()) else None


def _refuse_sizes(
    values: np.ndarray, steps: tuple[int, int], visits: Visits, references: References, sums: Sums
) -> None:
    """Raise ValueError unless the loops stay within all of these arrays."""
    (strata, elements, units), buckets = references.pivot.shape, len(sums.columns)
    sample, bucket, stratum = visits.reach
    last = sample * steps[0] + (elements - 1) * steps[1]
    per_unit = (buckets, units)
    refuse_sizes(
        rows=(values.shape[1:], (units,)),
        usual=(references.usual.shape, (strata, 2, units)),
        columns=(sums.columns.shape, (buckets, elements, units)),
        within=(sums.within.shape, per_unit),
        total=(sums.total.shape, per_unit),
        unusual=(sums.unusual.shape, per_unit),
    )
    used = steps if sample > 0 else steps[1:]  # round trips of a single sample keep the step of their orbits
    refuse_places(steps=(used, len(values) + 1), sample=(sample, len(values)), row=(last, len(values)))
    refuse_places(bucket=(bucket, buckets), stratum=(stratum, strata))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="invariscope")
