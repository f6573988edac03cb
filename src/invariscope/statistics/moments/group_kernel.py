"""The compiled loop from column sums of groups of buckets to variances, in a single pass."""

from __future__ import annotations

import numpy as np

from invariscope.statistics.base import replicate_sums, sums_of_groups
from invariscope.statistics.compiling import compiled
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.moments.orbit_kernel import OPTIONS
from invariscope.statistics.rounding import quotient

TILE = 256  # units per tile: the data of nine replicates stay in the L1 cache


@compiled(**OPTIONS)
def _add_bucket(column, count, away, part, moved):
    """Add a bucket's sums E of h after moving the reference by `away`, so that h becomes h + away."""
    for u in range(len(part)):
        part[u] += column[u] + count * away[u]
        moved[u] += away[u] * (2 * column[u] + count * away[u])


@compiled(**OPTIONS)
def _add(column, part):
    for u in range(len(part)):
        part[u] += column[u]


@compiled(**OPTIONS)
def _fill(columns, j, left, members, strata, counts, pivots, reference, part, moved):
    """Fill the sums of one group and element, for a tile of units, relative to one reference."""
    right = left + len(part)
    away = np.empty(len(part))
    for u in range(len(part)):
        part[u] = 0.0
    for k in range(len(members)):
        bucket = members[k]
        if strata[k] == reference:
            _add(columns[bucket, j, left:right], part)
        else:
            own, common = pivots[strata[k], j, left:right], pivots[reference, j, left:right]
            for u in range(len(part)):
                away[u] = np.float64(own[u]) - np.float64(common[u])
            _add_bucket(columns[bucket, j, left:right], counts[k], away, part, moved)


# Use only two arrays and unsigned indices: the compiler cannot prove that many arrays do not overlap, and
# signed indices might count from the end.
@compiled(**OPTIONS)
def _add_replicate(fixed, start, part, share, found, into, width):
    """Add Σ_i h_ij of one element to the sums over elements of one replicate.

    Args:
        fixed: TILE units each: the sums of all groups, and the distance of the reference from the first
            element's; see `start` and `part` for the rest.
        start: position in `fixed` of the replicate's sums for the first element.
        part: position in `fixed` of the sums of the group that the replicate leaves out.
        share: 1/n.
        found: Σ_j E_j², Σ_j (ā_j − ā_0) and the sum of its squares, TILE units each, starting at `into`.
        into: see `found`.
        width: number of units.
    """
    first, left_out, at, tile = np.uintp(start), np.uintp(part), np.uintp(into), np.uintp(TILE)
    for u in range(np.uintp(width)):
        rest = fixed[u] - fixed[left_out + u]
        moved = (rest - fixed[first + u]) * share + fixed[tile + u]
        found[at + u] += rest * rest
        found[at + tile + u] += moved
        found[at + tile + tile + u] += moved * moved


@compiled(**OPTIONS)
def _subtract(fixed, part, start, width):
    """Fill the sums for the first element of the replicate that leaves out one group."""
    for u in range(width):
        fixed[start + u] = fixed[u] - fixed[part + u]


@compiled(**OPTIONS)
def _sum_groups(columns, j, left, groups, pivots, reference, fixed, shifted, width):
    """Fill the sums of one element over all groups and, from the third tile on, over each group."""
    members, edges, strata, counts = groups
    for u in range(TILE):
        fixed[u] = 0.0
    for g in range(len(edges) - 1):
        one, many, at = edges[g], edges[g + 1], (2 + g) * TILE
        part, into = fixed[at : at + width], shifted[g, left : left + width]
        if many - one == 1 and strata[one] == reference:
            for u in range(width):
                part[u] = columns[members[one], j, left + u]
        else:
            within = (members[one:many], strata[one:many], counts[one:many])
            _fill(columns, j, left, *within, pivots, reference, part, into)
        _add(part, fixed[:width])


@compiled(**OPTIONS)
def _group_products(columns, groups, pivots, reference, shares, found):
    """Fill the arrays that `group_products` returns."""
    squared, moving, mean, shifted = found
    edges, (elements, units) = groups[1], columns.shape[1:]
    replicates, none = len(squared), (1 + len(edges)) * TILE
    starts = none + TILE
    fixed, sums = np.zeros(starts + replicates * TILE), np.empty(3 * replicates * TILE)
    for left in range(0, units, TILE):
        width = min(TILE, units - left)
        for at in range(len(sums)):
            sums[at] = 0.0
        for j in range(elements):
            for u in range(width):
                start, now = pivots[reference, 0, left + u], pivots[reference, j, left + u]
                fixed[TILE + u] = np.float64(now) - np.float64(start)
            _sum_groups(columns, j, left, groups, pivots, reference, fixed, shifted, width)
            for r in range(replicates):
                start, part = starts + r * TILE, none if r == 0 else (1 + r) * TILE
                if j == 0:
                    _subtract(fixed, part, start, width)
                _add_replicate(fixed, start, part, shares[r], sums, 3 * r * TILE, width)
            for u in range(width):
                mean[left + u] += fixed[u] * shares[0]
        for r in range(replicates):
            at = 3 * r * TILE
            for u in range(width):
                total, squares = sums[at + TILE + u], sums[at + 2 * TILE + u]
                squared[r, left + u] = sums[at + u]
                moving[r, left + u] = max(squares - total * total / elements, 0.0)


def group_products(
    columns: np.ndarray,
    groups: list[list[int]],
    strata: np.ndarray,
    counts: np.ndarray,
    pivots: np.ndarray,
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums that variances are computed from, for all groups and with each group left out.

    Each element's mean over samples enters as its difference from the first element's, so that neither the
    unit's offset nor the distance from the reference orbit costs precision.

    Args:
        columns: (bucket, element, unit) sums of h_ij, relative to the reference orbit of the bucket's
            stratum.
        groups: buckets by group.
        strata, counts: (bucket,) the stratum, and the number of samples.
        pivots: (stratum, element, unit) the reference orbits p_j.
        reference: the stratum to whose reference orbit all sums are moved.
    Returns:
        With E_j the sums relative to that orbit: (replicate, unit) Σ_j E_j²; (replicate, unit) Σ_j (ā_j −
        ā)², with ā_j the mean over samples; (unit,) Σ_j E_j/n over all groups; and (group, unit) the increase
        of Σ_ij h_ij².
    Raises:
        ValueError: sizes that do not match.
    """
    members = np.concatenate([np.asarray(group, np.int64) for group in groups])
    edges = np.cumsum([0, *map(len, groups)])
    refuse_sizes(
        sums=(columns.shape[1:], pivots.shape[1:]),
        strata=(strata.shape, columns.shape[:1]),
        counts=(counts.shape, columns.shape[:1]),
    )
    known = np.append(strata[strata >= 0], reference)
    refuse_places(buckets=(members, len(columns)), strata=(known, len(pivots)))
    own = np.where(counts[members] > 0, strata[members], reference)  # empty buckets need not be moved
    samples = sums_of_groups(counts, groups)
    shares = quotient(1.0, samples)
    (units, count), replicates = (columns.shape[2], len(groups)), len(samples)
    squared, moving = np.zeros((2, replicates, units))
    found = squared, moving, np.zeros(units), np.zeros((count, units))
    wanted = (members, edges, own, counts[members].astype(np.float64))
    _group_products(columns, wanted, pivots, reference, shares, found)
    return found


@compiled(**OPTIONS)
def _strata_products(columns, groups, pivots, references, shares, found):
    """Fill the arrays that `strata_products` returns, one stratum after the other."""
    members, edges, counts = groups
    squared, moving, mean = found
    strata, none = np.empty(members.shape[1], np.int64), np.empty((len(edges) - 1, columns.shape[2]))
    for s in range(len(members)):
        strata[:] = references[s]
        own = (members[s], edges, strata, counts[s])
        _group_products(
            columns, own, pivots, references[s], shares[s], (squared[s], moving[s], mean[s], none)
        )


def strata_products(
    columns: np.ndarray, buckets: np.ndarray, counts: np.ndarray, pivots: np.ndarray, references: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of `group_products` for several strata, each relative to its own reference orbit.

    Args:
        columns, pivots: see `group_products`.
        buckets: (stratum, group, bucket) the buckets of each group of each stratum.
        counts: (bucket,) number of samples.
        references: (stratum,) the reference orbit of all these buckets.
    Returns:
        (stratum, replicate, unit) Σ_j E_j² and Σ_j (ā_j − ā)²; (stratum, unit) Σ_j E_j/n over all groups.
    Raises:
        ValueError: sizes that do not match.
    """
    (strata, groups, each), units = buckets.shape, columns.shape[2]
    members = buckets.reshape(strata, -1)
    refuse_sizes(
        sums=(columns.shape[1:], pivots.shape[1:]),
        counts=(counts.shape, columns.shape[:1]),
        references=(references.shape, (strata,)),
    )
    refuse_places(buckets=(members, len(columns)), references=(references, len(pivots)))
    own = counts[members].astype(np.float64)
    samples = replicate_sums(own.reshape(buckets.shape).sum(axis=2).T).T
    squared, moving = np.zeros((2, strata, samples.shape[1], units))
    found, wanted = (squared, moving, np.zeros((strata, units))), (members, each * np.arange(groups + 1), own)
    _strata_products(columns, wanted, pivots, references, quotient(1.0, samples), found)
    return found
