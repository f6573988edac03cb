"""The compiled loops that compute a stratum's reference from its first samples."""

from __future__ import annotations

import numba
import numpy as np

from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.moments.orbit_kernel import OPTIONS, TILE, along


@numba.njit(**OPTIONS)
def _median_of_five(a, b, c, d, e, found):
    """Compute the median without sorting: it is neither the smallest nor the largest of any four."""
    for u in range(len(found)):
        low = max(min(a[u], b[u]), min(c[u], d[u]))
        high = min(max(a[u], b[u]), max(c[u], d[u]))
        found[u] = max(min(low, high), min(max(low, high), e[u]))


@numba.njit(**OPTIONS)
def _medians(rows, starts, step, left, pivot):
    """Fill the (element, unit) lower median of one to five orbits, for a tile of units."""
    count, few, (elements, width) = len(starts), np.empty(len(starts), rows.dtype), pivot.shape
    right = left + width
    for j in range(elements):
        at = starts + j * step
        if count == 5:
            a, b, c = rows[at[0], left:right], rows[at[1], left:right], rows[at[2], left:right]
            _median_of_five(a, b, c, rows[at[3], left:right], rows[at[4], left:right], pivot[j])
            continue
        for u in range(width):
            for i in range(count):
                few[i] = rows[at[i], left + u]
            pivot[j, u] = np.sort(few)[(count - 1) // 2]


@numba.njit(**OPTIONS)
def _add_squares(head, sums, spread, elements, squares):
    """Add Σ_j a_j² of one orbit."""
    for u in range(len(squares)):
        origin = np.float64(head[u])
        squares[u] += origin * (elements * origin + 2 * sums[u]) + spread[u]


@numba.njit(**OPTIONS)
def _summaries(rows, starts, step, weights, pivot, weighted, squares):
    """Fill medians, (sample, unit) weighted sums, and (unit,) sums of squares over samples and elements."""
    (units, flat), elements = (rows.shape[1], rows.reshape(-1)), len(weights)
    sums, spread = np.empty(TILE), np.empty(TILE)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        _medians(rows, starts, step, left, pivot[:, left:right])
        for i in range(len(starts)):
            first = starts[i] * units + left
            along(flat, first, step * units, weights, sums[:width], spread, weighted[i, left:right])
            _add_squares(flat[first:], sums, spread, elements, squares[left:right])


@numba.njit(**OPTIONS)
def _count_agreeing(first, second, tolerance, agree, other):
    for u in range(len(tolerance)):
        same = 1.0 if abs(first[u] - second[u]) <= tolerance[u] else 0.0
        agree[u] += same
        other[u] += same


@numba.njit(**OPTIONS)
def _prefer(own, agree, best, found):
    for u in range(len(found)):
        found[u] = own[u] if agree[u] > best[u] else found[u]
        best[u] = max(agree[u], best[u])


@numba.njit(**OPTIONS)
def _most_agreed(weighted, tolerance, found):
    """Fill (unit,) with the first of the (sample, unit) sums that most others agree with."""
    count = len(weighted)
    agree = np.empty((count, TILE))
    for left in range(0, len(found), TILE):
        right = min(left + TILE, len(found))
        few, far, into = weighted[:, left:right], tolerance[left:right], found[left:right]
        agree[:] = 0.0
        for i in range(count):
            for k in range(i):
                _count_agreeing(few[i], few[k], far, agree[i], agree[k])
        into[:] = few[0]
        for i in range(1, count):
            _prefer(few[i], agree[i], agree[0], into)


def take_reference(
    rows: np.ndarray,
    starts: np.ndarray,
    step: int,
    weights: np.ndarray,
    share: float,
    pivot: np.ndarray,
    usual: np.ndarray,
) -> None:
    """Fill the median orbit and the usual response; see `References`.

    Args:
        rows: (row, unit), C-contiguous float32 or float64.
        starts: (sample,) the first row of each of one to five orbits.
        step: rows from one element to the next.
        weights: (element,) of the weighted sum.
        share: τ.
        pivot: (element, unit) in the type of `rows`.
        usual: (2, unit) float64.
    Raises:
        ValueError: sizes that do not match.
    """
    (count, elements), units = (len(starts), len(weights)), rows.shape[1]
    refuse_sizes(pivot=(pivot.shape, (elements, units)), usual=(usual.shape, (2, units)))
    last = starts + (elements - 1) * step
    refuse_places(orbits=(count - 1, 5), starts=(starts, len(rows)), ends=(last, len(rows)))
    weighted, squares = np.empty((count, units)), np.zeros(units)
    _summaries(rows, starts, step, weights, pivot, weighted, squares)
    usual[1] = usual_tolerance(squares / (count * elements), share) * weights.sum()
    _most_agreed(weighted, usual[1], usual[0])


def usual_tolerance(squares: np.ndarray, share: float) -> np.ndarray:
    """Return (unit,) τ·s from mean square responses."""
    layer = squares.mean() if squares.size else 0.0
    return share * np.sqrt(np.maximum(squares, 1e-6 * layer))
