"""Add the sums of a state to those of another, for all strata together."""

from __future__ import annotations

import numpy as np

from invariscope.statistics.moments.orbit_state import OrbitState, Sums
from invariscope.statistics.moments.references import References, agree

AT_ONCE = 1 << 18
"""Number of sums per array that are moved together, to limit the memory."""


def add_strata(both: OrbitState, first: OrbitState, second: OrbitState) -> None:
    """Add the second state's sums to `both`, a copy of the first, except those of waiting samples.

    Strata that both states have keep the first one's reference orbit.
    """
    theirs, other, mine = second.sums.on_host(), second.references.on_host(), both.references
    strata = np.flatnonzero(other.settled)
    new = strata[~mine.settled[strata]]
    mine.pivot[new], mine.usual[new], mine.settled[new] = other.pivot[new], other.usual[new], True
    counted = np.flatnonzero((second.strata >= 0) & other.settled[second.strata])
    counted = counted[counted >= int(both.overall)]  # bucket 0 has no sums if it is that of all samples
    size = max(AT_ONCE // max(theirs.columns[0].size, 1), 1)
    for start in range(0, len(counted), size):
        _add_sums(both, second, theirs, other, counted[start : start + size])
    _add_unusual(both, first, second, theirs, other)


def _add_sums(
    both: OrbitState, second: OrbitState, theirs: Sums, other: References, buckets: np.ndarray
) -> None:
    """Add the sums of some buckets, moved to the reference orbits of `both`."""
    own, sums = second.strata[buckets], both.sums.arrays()
    move = other.pivot[own].astype(np.float64) - both.references.pivot[own]  # h' = h + move
    moved = second.counts[buckets, None, None] * move
    grown = move * (2 * theirs.columns[buckets] + moved)
    for name, part in theirs.arrays().items():
        if name != "unusual":
            sums[name][buckets] += part[buckets]
    both.sums.columns[buckets] += moved
    both.sums.total[buckets] += grown.sum(axis=1)
    if both.sums.squares is not None:
        both.sums.squares[buckets] += grown


def _add_unusual(
    both: OrbitState, first: OrbitState, second: OrbitState, theirs: Sums, other: References
) -> None:
    """Add the counts of unusual responses.

    If two usual responses of a stratum differ, all clusters of the less supported one count as unusual.
    """
    references, unusual = both.references, both.sums.unusual
    strata = np.full(len(references.settled), -1)
    known = np.flatnonzero(other.settled)
    strata[known] = np.arange(len(known))
    waits = np.isin(first.strata, list(first.waiting))
    own, their = (np.where(s >= 0, strata[s], -1) for s in (first.strata, second.strata))
    own = np.where(waits, -1, own)
    support = [
        _support(first.clusters, unusual, own, len(known)),
        _support(second.clusters, theirs.unusual, their, len(known)),
    ]
    responses = (np.moveaxis(part.usual[known], 1, 0) for part in (references, other))
    usual, same = merged_usual(*responses, mine=support[0], theirs=support[1])
    references.usual[known] = np.moveaxis(usual, 0, 1)
    ours = support[0] >= support[1]
    filled = np.flatnonzero(own >= 0)
    kept = (same | ours)[own[filled]]
    unusual[filled] = np.where(kept, unusual[filled], first.clusters[filled, None])
    filled = np.flatnonzero(their >= 0)
    kept = (same | ~ours)[their[filled]]
    unusual[filled] += np.where(kept, theirs.unusual[filled], second.clusters[filled, None])


def _support(clusters: np.ndarray, unusual: np.ndarray, strata: np.ndarray, count: int) -> np.ndarray:
    """Return the (stratum, unit) number of clusters with the usual response of their stratum.

    Args:
        clusters, unusual: (bucket,) and (bucket, unit) number of clusters, and of those that are unusual.
        strata: (bucket,) the stratum of each bucket; -1 for buckets that do not count.
    """
    found, used = np.zeros((count, unusual.shape[1])), strata >= 0
    np.add.at(found, strata[used], clusters[used, None] - unusual[used])
    return found


def merged_usual(
    first: np.ndarray, second: np.ndarray, *, mine: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the better supported of two (2, ..., unit) usual responses, and whether they agree.

    Args:
        mine, theirs: (..., unit) number of clusters that agree with the first and with the second.
    """
    return np.where(mine >= theirs, first, second), same_response(first, second)


def same_response(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a mask of units for which two (2, ..., unit) usual responses are the same."""
    return agree(first[0], second[0], np.maximum(first[1], second[1]))
