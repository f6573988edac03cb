"""The reference of a stratum from its first samples, on the CPU."""

from __future__ import annotations

import numba
import numpy as np

from invariscope.statistics.kernel_checks import refuse_unless
from invariscope.statistics.orbit_kernel import OPTIONS, TILE, along


@numba.njit(**OPTIONS)
def _median_of_five(rows, found):
    """Without sorting: the least and the largest of four cannot be it."""
    a, b, c, d, e = rows[0], rows[1], rows[2], rows[3], rows[4]
    for u in range(len(found)):
        low = max(min(a[u], b[u]), min(c[u], d[u]))
        high = min(max(a[u], b[u]), max(c[u], d[u]))
        found[u] = max(min(low, high), min(max(low, high), e[u]))


@numba.njit(**OPTIONS)
def _medians(orbits, pivot):
    """Fills the (element, unit) lower median of one to five (sample, element, unit) orbits."""
    count, elements, units = orbits.shape
    for j in range(elements):
        if count == 5:
            _median_of_five(orbits[:, j], pivot[j])
            continue
        for u in range(units):
            pivot[j, u] = np.sort(orbits[:, j, u])[(count - 1) // 2]


@numba.njit(**OPTIONS)
def _summaries(orbits, weights, weighted, squares):
    """Fills (sample, unit) weighted sums, and (unit,) sums of squares over samples and elements."""
    count, elements, units = orbits.shape
    flat, sums, spread = orbits.reshape(-1), np.empty(TILE), np.empty(TILE)
    for left in range(0, units, TILE):
        width = min(TILE, units - left)
        into = squares[left : left + width]
        for i in range(count):
            first = i * elements * units + left
            along(flat, first, units, weights, sums[:width], spread, weighted[i, left : left + width])
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
            agree = 0
            for k in range(count):
                agree += abs(weighted[i, u] - weighted[k, u]) <= tolerance[u]
            if agree > best:
                best, found[u] = agree, weighted[i, u]


def take_reference(
    orbits: np.ndarray, weights: np.ndarray, share: float, pivot: np.ndarray, usual: np.ndarray
) -> None:
    """Fills the median orbit and the usual response; see `References`.

    Args:
        orbits: (sample, element, unit) of one to five samples.
        weights: (element,) of the weighted sum.
        share: τ.
        pivot: (element, unit) in the type of `orbits`.
        usual: (2, unit) float64.
    Raises:
        ValueError: sizes that do not fit together.
    """
    count, elements, units = orbits.shape
    refuse_unless(
        0 < count <= 5 and pivot.shape == (elements, units), "orbits", orbits.shape, "pivot", pivot.shape
    )
    refuse_unless(usual.shape == (2, units), "usual responses", usual.shape, "orbits", orbits.shape)
    refuse_unless(weights.shape == (elements,), "weights", weights.shape, "orbits", orbits.shape)
    orbits = np.ascontiguousarray(orbits)
    weighted, squares = np.empty((count, units)), np.zeros(units)
    _medians(orbits, pivot)
    _summaries(orbits, weights, weighted, squares)
    usual[1] = usual_tolerance(squares / (count * elements), share) * weights.sum()
    _most_agreed(weighted, usual[1], usual[0])


def usual_tolerance(squares: np.ndarray, share: float) -> np.ndarray:
    """(unit,) τ·s from mean square responses."""
    layer = squares.mean() if squares.size else 0.0
    return share * np.sqrt(np.maximum(squares, 1e-6 * layer))
