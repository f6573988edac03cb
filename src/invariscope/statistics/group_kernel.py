"""What the variances need of the column sums of groups of buckets, in one reading."""

from __future__ import annotations

import numba
import numpy as np

from invariscope.statistics.base import replicate_sums
from invariscope.statistics.kernel_checks import refuse_unless
from invariscope.statistics.orbit_kernel import OPTIONS

TILE = 256  # units: sums of nine replicates stay in the nearest cache


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
def _square(rest, squared):
    for u in range(len(rest)):
        squared[u] += rest[u] * rest[u]


@numba.njit(**OPTIONS)
def _move(rest, start, share, steps, moved):
    for u in range(len(rest)):
        moved[u] = (rest[u] - start[u]) * share + steps[u]


# Short loops of one result each: of longer ones the compiler cannot prove that their arrays are apart.
@numba.njit(**OPTIONS)
def _add_replicate(rest, start, share, steps, squared, sums, squares, moved):
    """Adds Σ_i h_ij of one element to the sums over elements of one replicate."""
    _square(rest, squared)
    _move(rest, start, share, steps, moved)
    _add(moved, sums)
    _square(moved, squares)


@numba.njit(**OPTIONS)
def _group_products(columns, groups, pivots, reference, shares, found):
    """Fills what `group_products` returns."""
    members, edges, strata, counts = groups
    squared, moving, mean, shifted = found
    elements, units = columns.shape[1:]
    replicates = len(squared)
    parts, column, moved, rest = (
        np.empty((len(edges) - 1, TILE)),
        np.empty(TILE),
        np.empty(TILE),
        np.empty(TILE),
    )
    starts, sums, squares = np.empty((3, replicates, TILE))
    steps = np.empty(TILE)
    for left in range(0, units, TILE):
        right = min(left + TILE, units)
        width = right - left
        sums[:] = 0.0
        squares[:] = 0.0
        origin, total = pivots[reference, 0, left:right], mean[left:right]
        for j in range(elements):
            pivot = pivots[reference, j, left:right]
            column[:] = 0.0
            for u in range(width):
                steps[u] = np.float64(pivot[u]) - np.float64(origin[u])
            for g in range(len(edges) - 1):
                one, many = edges[g], edges[g + 1]
                if many - one == 1 and strata[one] == reference:
                    _add(columns[members[one], j, left:right], column[:width])
                else:
                    within = (members[one:many], strata[one:many], counts[one:many])
                    into = shifted[g, left:right]
                    _fill(columns, j, left, *within, pivots, reference, parts[g, :width], into)
                    _add(parts[g, :width], column[:width])
            for r in range(replicates):
                rest[:] = column
                if r > 0:
                    one, many = edges[r - 1], edges[r]
                    part = parts[r - 1, :width]
                    if many - one == 1 and strata[one] == reference:
                        part = columns[members[one], j, left:right]
                    for u in range(width):
                        rest[u] = column[u] - part[u]
                if j == 0:
                    starts[r] = rest
                own, into = rest[:width], squared[r, left:right]
                _add_replicate(own, starts[r], shares[r], steps, into, sums[r], squares[r], moved[:width])
            for u in range(width):
                total[u] += column[u] * shares[0]
        for r in range(replicates):
            for u in range(width):
                moving[r, left + u] = max(squares[r, u] - sums[r, u] * sums[r, u] / elements, 0.0)


def group_products(
    columns: np.ndarray,
    groups: list[list[int]],
    strata: np.ndarray,
    counts: np.ndarray,
    pivots: np.ndarray,
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the variances need of the column sums, for all groups of buckets and for all but each.

    Means over samples are compared between elements by their differences to that of the first element, so
    that neither the unit's offset nor the distance from the fixed orbit costs them digits.

    Args:
        columns: (bucket, element, unit) sums of h_ij, relative to the fixed orbit of the bucket's stratum.
        groups: buckets by group.
        strata, counts: (bucket,) the stratum, and the number of samples.
        pivots: (stratum, element, unit) the fixed orbits p_j.
        reference: the stratum whose fixed orbit all sums are to be relative to.
    Returns:
        With E_j the sums relative to that orbit: (replicate, unit) Σ_j E_j²; (replicate, unit)
        Σ_j (ā_j − ā)², ā_j the mean over samples; (unit,) Σ_j E_j/n over all groups; and (group, unit) what
        Σ_ij h_ij² grows by.
    Raises:
        ValueError: sizes that do not fit together.
    """
    members = np.concatenate([np.asarray(group, np.int64) for group in groups])
    edges = np.cumsum([0, *map(len, groups)])
    _check(columns, members, strata, counts, pivots, reference)
    own = np.where(counts[members] > 0, strata[members], reference)  # an empty bucket has nothing to move
    samples = replicate_sums(np.array([counts[group].sum() for group in groups], float))
    with np.errstate(divide="ignore"):
        shares = 1 / samples
    (units, count), replicates = (columns.shape[2], len(groups)), len(samples)
    squared, moving = np.zeros((2, replicates, units))
    found = squared, moving, np.zeros(units), np.zeros((count, units))
    wanted = (members, edges, own, counts[members].astype(np.float64))
    _group_products(columns, wanted, pivots, reference, shares, found)
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
