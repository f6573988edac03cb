"""Counts of samples with unusual responses, over several strata or states."""

from __future__ import annotations

import numpy as np

from invariscope.statistics.moments.orbit_state import OrbitState
from invariscope.statistics.moments.references import agree


def unusual_counts(state: OrbitState, buckets: list[int]) -> np.ndarray:
    """Return (unit,) the number of clusters in these buckets that do not give the common usual response.

    The strata vote on the common usual response. All clusters of a stratum with a different usual response
    are counted.
    """
    filled = [bucket for bucket in buckets if state.counts[bucket]]
    strata = np.unique(state.strata[filled]) if filled else np.zeros(0, np.int64)
    parts = [[b for b in filled if state.strata[b] == stratum] for stratum in strata]
    counts = [state.sums.unusual[part].sum(axis=0) for part in parts]
    if len(strata) < 2:
        return counts[0] if counts else np.zeros(state.sums.unusual.shape[1])
    sizes = [int(state.clusters[part].sum()) for part in parts]
    usual = [state.references.usual[stratum] for stratum in strata]
    common = _most_shared(usual, [size - count for size, count in zip(sizes, counts, strict=True)])
    found = np.zeros_like(counts[0])
    for own, size, count in zip(usual, sizes, counts, strict=True):
        found += np.where(_same(own, common), count, size)
    return found


def merged_usual(
    first: np.ndarray, second: np.ndarray, *, mine: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the better supported of two (2, unit) usual responses of a stratum, and whether they agree.

    Args:
        mine, theirs: (unit,) how many clusters give the first and the second.
    """
    return np.where(mine >= theirs, first, second), _same(first, second)


def _same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (unit,) whether two (2, unit) usual responses are the same."""
    return agree(first[0], second[0], np.maximum(first[1], second[1]))


def _most_shared(usual: list[np.ndarray], support: list[np.ndarray]) -> np.ndarray:
    """Return the (2, unit) usual response by a vote of the strata, weighted by the clusters that give theirs.

    This finds the response that more than half of the clusters give, if there is one; otherwise the unit is
    not sparse.
    """
    found, weight = usual[0].copy(), support[0]
    for own, votes in zip(usual[1:], support[1:], strict=True):
        weight = np.where(_same(own, found), weight + votes, weight - votes)
        found, weight = np.where(weight < 0, own, found), np.abs(weight)
    return found
