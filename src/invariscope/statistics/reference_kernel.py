"""The reference of a stratum from its first samples, on the CPU."""

from __future__ import annotations

import numba
import numpy as np

from invariscope.statistics.kernel_checks import refuse_rows, refuse_unless
from invariscope.statistics.orbit_kernel import OPTIONS, TILE, along


@numba.njit(**OPTIONS)
def _median_of_five(a, b, c, d, e, found):
    """Without sorting: the least and the largest of four cannot be it."""
    for u in range(len(found)):
        low = max(min(a[u], b[u]), min(c[u], d[u]))
        high = min(max(a[u], b[u]), max(c[u], d[u]))
        found[u] = max(min(low, high), min(max(low, high), e[u]))


@numba.njit(**OPTIONS)
def _medians(rows, starts, step, pivot):
    """Fills the (element, unit) lower median of one to five orbits."""
    count, few = len(starts), np.empty(len(starts), rows.dtype)
    for j in range(len(pivot)):
        at = starts + j * step
        if count == 5:
            _median_of_five(rows[at[0]], rows[at[1]], rows[at[2]], rows[at[3]], rows[at[4]], pivot[j])
            continue
        for u in range(pivot.shape[1]):
            for i in range(count):
                few[i] = rows[at[i], u]
            pivot[j, u] = np.sort(few)[(count - 1) // 2]


@numba.njit(**OPTIONS)
def _summaries(rows, starts, step, weights, weighted, squares):
    """Fills (sample, unit) weighted sums, and (unit,) sums of squares over samples and elements."""
    (units, flat), elements = (rows.shape[1], rows.reshape(-1)), len(weights)
    sums, spread = np.empty(TILE), np.empty(TILE)
    for left in range(0, units, TILE):
        width = min(TILE, units - left)
        into = squares[left : left + width]
        for i in range(len(starts)):
            first = starts[i] * units + left
            along(flat, first, step * units, weights, sums[:width], spread, weighted[i, left : left + width])
            for u in range(width):
                head = np.float64(flat[first + u])
                into[u] += head * (elements * head + 2 * sums[u]) + spread[u]


@numba.njit(**OPTIONS)
def _most_agreed(weighted, tolerance, found):
    """Fills (unit,) of the (sample, unit) sums the one that most agree with; the first such one."""
    count = len(weighted)
    for u in range(len(found)):
        best = 0
        for i in range(count):
            own, far, agree = weighted[i, u], tolerance[u], 0
            for k in range(count):
                agree += abs(own - weighted[k, u]) <= far
            if agree > best:
                best, found[u] = agree, own
            if 2 * best > count:  # the others cannot be more
                break


def take_reference(
    rows: np.ndarray,
    starts: np.ndarray,
    step: int,
    weights: np.ndarray,
    share: float,
    pivot: np.ndarray,
    usual: np.ndarray,
) -> None:
    """Fills the median orbit and the usual response; see `References`.

    Args:
        rows: (row, unit), C-contiguous float32 or float64.
        starts: (sample,) the row in which each of one to five orbits begins.
        step: rows from one element to the next.
        weights: (element,) of the weighted sum.
        share: τ.
        pivot: (element, unit) in the type of `rows`.
        usual: (2, unit) float64.
    Raises:
        ValueError: sizes that do not fit together.
    """
    (count, elements), units = (len(starts), len(weights)), rows.shape[1]
    refuse_unless(pivot.shape == (elements, units), "pivot", pivot.shape, "rows", rows.shape)
    refuse_unless(usual.shape == (2, units), "usual responses", usual.shape, "rows", rows.shape)
    refuse_unless(0 < count <= 5, "orbits", (count,), "at most", (5,))
    refuse_rows(starts, rows.shape)
    refuse_rows(starts + (elements - 1) * step, rows.shape)
    weighted, squares = np.empty((count, units)), np.zeros(units)
    _medians(rows, starts, step, pivot)
    _summaries(rows, starts, step, weights, weighted, squares)
    usual[1] = usual_tolerance(squares / (count * elements), share) * weights.sum()
    _most_agreed(weighted, usual[1], usual[0])


def usual_tolerance(squares: np.ndarray, share: float) -> np.ndarray:
    """(unit,) τ·s from mean square responses."""
    layer = squares.mean() if squares.size else 0.0
    return share * np.sqrt(np.maximum(squares, 1e-6 * layer))
