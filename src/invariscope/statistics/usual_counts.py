"""How many samples give something other than a unit's usual response, over several strata or states."""

from __future__ import annotations

import numpy as np

from invariscope.statistics.orbit_state import OrbitState
from invariscope.statistics.references import agree


def unusual_counts(state: OrbitState, buckets: list[int]) -> np.ndarray:
    """(unit,) clusters of these buckets that give something other than the usual response of all of them.

    The usual response of several strata is that of the strata that have the most to show for theirs; a
    stratum whose own is another counts as a whole.
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
    """Of two (2, unit) usual responses to one stratum the one with more support, and whether they agree.

    Args:
        mine, theirs: (unit,) how many clusters give them.
    """
    return np.where(mine >= theirs, first, second), _same(first, second)


def _same(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(unit,) whether two (2, unit) usual responses are one."""
    return agree(first[0], second[0], np.maximum(first[1], second[1]))


def _most_shared(usual: list[np.ndarray], support: list[np.ndarray]) -> np.ndarray:
    """(2, unit) by a vote of all strata, each with the clusters that give its own usual response.

    It finds the response that more than half of them give, if there is one; without one no unit is sparse.
    """
    found, weight = usual[0].copy(), support[0]
    for own, votes in zip(usual[1:], support[1:], strict=True):
        weight = np.where(_same(own, found), weight + votes, weight - votes)
        found, weight = np.where(weight < 0, own, found), np.abs(weight)
    return found
