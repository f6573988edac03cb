"""What the variances need of the column sums of groups of buckets, in one reading."""

from __future__ import annotations

import numba
import numpy as np

from invariscope.statistics.kernel_checks import refuse_unless
from invariscope.statistics.orbit_kernel import OPTIONS, TILE


@numba.njit(**OPTIONS)
def _add_bucket(column, count, away, part, moved):
    """Adds a bucket's sums E of h, relative to a reference that is `away` from theirs: h + away."""
    for u in range(len(part)):
        part[u] += column[u] + count * away[u]
        moved[u] += away[u] * (2 * column[u] + count * away[u])


@numba.njit(**OPTIONS)
def _add(column, part):
    for u in range(len(part)):
        part[u] += column[u]


@numba.njit(**OPTIONS)
def _fill(columns, j, left, members, strata, counts, pivots, reference, part, moved):
    """Fills the sums of one group and element, a tile of units, relative to one reference."""
    right = left + len(part)
    part[:] = 0.0
    away = np.empty(len(part))
    for k in range(len(members)):
        bucket = members[k]
        if strata[k] == reference:
            _add(columns[bucket, j, left:right], part)
        else:
            own, common = pivots[strata[k], j, left:right], pivots[reference, j, left:right]
            for u in range(len(part)):
                away[u] = np.float64(own[u]) - np.float64(common[u])
            _add_bucket(columns[bucket, j, left:right], counts[k], away, part, moved)


@numba.njit(**OPTIONS)
def _group_products(columns, groups, pivots, reference, centred, found):
    """Fills what `group_products` returns."""
    members, edges, strata, counts = groups
    squared, along, onto, moved = found
    elements, units = columns.shape[1:]
    parts, column = np.empty((len(edges) - 1, TILE)), np.empty(TILE)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        for j in range(elements):
            q = centred[j, left:right]
            column[:] = 0.0
            for g in range(len(edges) - 1):
                one, many = edges[g], edges[g + 1]
                if many - one == 1 and strata[one] == reference:
                    part = columns[members[one], j, left:right]
                else:
                    part = parts[g, :width]
                    within = (members[one:many], strata[one:many], counts[one:many])
                    _fill(columns, j, left, *within, pivots, reference, part, moved[g, left:right])
                sums, products = along[g, left:right], onto[g, left:right]
                for u in range(width):
                    column[u] += part[u]
                    sums[u] += part[u]
                    products[u] += q[u] * part[u]
            whole = squared[0, left:right]
            for u in range(width):
                whole[u] += column[u] * column[u]
            for g in range(len(squared) - 1):
                one, many = edges[g], edges[g + 1]
                if many - one == 1 and strata[one] == reference:
                    part = columns[members[one], j, left:right]
                else:
                    part = parts[g, :width]
                without = squared[1 + g, left:right]
                for u in range(width):
                    without[u] += (column[u] - part[u]) * (column[u] - part[u])


def group_products(
    columns: np.ndarray,
    groups: list[list[int]],
    strata: np.ndarray,
    counts: np.ndarray,
    pivots: np.ndarray,
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the variances need of the column sums, for all groups of buckets and for all but each.

    Args:
        columns: (bucket, element, unit) sums of h_ij, relative to the fixed orbit of the bucket's stratum.
        groups: buckets by group.
        strata, counts: (bucket,) the stratum, and the number of samples.
        pivots: (stratum, element, unit) the fixed orbits p_j.
        reference: the stratum whose fixed orbit all sums are to be relative to.
    Returns:
        With E_gj the sums of the samples of each group relative to that orbit, and q_j the orbit minus its
        mean: Σ_j E_j² as (replicate, unit), Σ_j E_gj and Σ_j q_j·E_gj as (group, unit), and what Σ_ij h_ij²
        grows by, as (group, unit).
    Raises:
        ValueError: sizes that do not fit together.
    """
    members = np.concatenate([np.asarray(group, np.int64) for group in groups])
    edges = np.cumsum([0, *map(len, groups)])
    _check(columns, members, strata, counts, pivots, reference)
    own = np.where(counts[members] > 0, strata[members], reference)  # an empty bucket has nothing to move
    pivot = pivots[reference].astype(np.float64)
    units, count = columns.shape[2], len(groups)
    squared = np.zeros((count + 1 if count > 1 else 1, units))
    found = (squared, *(np.zeros((count, units)) for _ in range(3)))
    wanted = (members, edges, own, counts[members].astype(np.float64))
    _group_products(columns, wanted, pivots, reference, pivot - pivot.mean(axis=0), found)
    return found


def _check(
    columns: np.ndarray,
    members: np.ndarray,
    strata: np.ndarray,
    counts: np.ndarray,
    pivots: np.ndarray,
    reference: int,
) -> None:
    """Raises a ValueError unless the loops stay inside all of these arrays."""
    buckets = len(columns)
    refuse_unless(columns.shape[1:] == pivots.shape[1:], "sums", columns.shape, "pivots", pivots.shape)
    refuse_unless(strata.shape == counts.shape == (buckets,), "strata", strata.shape, "sums", columns.shape)
    refuse_unless(
        members.min() >= 0 and members.max() < buckets,
        "buckets up to",
        (int(members.max()),),
        "sums",
        columns.shape,
    )
    refuse_unless(
        max(int(strata.max()), reference) < len(pivots) and reference >= 0,
        "strata up to",
        (max(int(strata.max()), reference),),
        "pivots",
        pivots.shape,
    )
