"""The compiled loop along one orbit, shared by the reduction and the choice of a reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from invariscope.statistics.compiling import compiled

TILE = 1024  # units per tile: long enough for prefetching, short enough for its scratch to stay in cache
OPTIONS: Any = {
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
}


@compiled(**OPTIONS)
def along(flat, first, step, weights, sums, squares, weighted):
    """Compute Σ_j e_j, Σ_j e_j² and w_0·a_0 + Σ_j w_j·e_j of one orbit; e_0 is zero."""
    width, elements = len(sums), len(weights)
    head, w1 = flat[first : first + width], weights[0]
    for u in range(width):
        sums[u] = 0.0
        squares[u] = 0.0
        weighted[u] = w1 * np.float64(head[u])
    j = 1
    while j + 4 < elements:
        at = first + j * step
        r1, r2, r3 = flat[at : at + width], flat[at + step :], flat[at + 2 * step :]
        r4, r5 = flat[at + 3 * step :], flat[at + 4 * step :]
        w1, w2, w3, w4, w5 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3], weights[j + 4]
        for u in range(width):
            origin = np.float64(head[u])
            e1, e2, e3 = np.float64(r1[u]) - origin, np.float64(r2[u]) - origin, np.float64(r3[u]) - origin
            e4, e5 = np.float64(r4[u]) - origin, np.float64(r5[u]) - origin
            sums[u] += e1 + e2 + e3 + e4 + e5
            squares[u] += e1 * e1 + e2 * e2 + e3 * e3 + e4 * e4 + e5 * e5
            weighted[u] += w1 * e1 + w2 * e2 + w3 * e3 + w4 * e4 + w5 * e5
        j += 5
    while j + 2 < elements:
        at = first + j * step
        r1, r2, r3 = flat[at : at + width], flat[at + step :], flat[at + 2 * step :]
        w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2]
        for u in range(width):
            origin = np.float64(head[u])
            e1, e2, e3 = np.float64(r1[u]) - origin, np.float64(r2[u]) - origin, np.float64(r3[u]) - origin
            sums[u] += e1 + e2 + e3
            squares[u] += e1 * e1 + e2 * e2 + e3 * e3
            weighted[u] += w1 * e1 + w2 * e2 + w3 * e3
        j += 3
    while j < elements:
        row, w1 = flat[first + j * step :], weights[j]
        for u in range(width):
            e = np.float64(row[u]) - np.float64(head[u])
            sums[u] += e
            squares[u] += e * e
            weighted[u] += w1 * e
        j += 1
