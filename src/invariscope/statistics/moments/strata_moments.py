"""Moments of many strata, such as classes, computed together."""

from __future__ import annotations

from functools import partial

import numpy as np

from invariscope.statistics.base import replicate_sums
from invariscope.statistics.moments.group_kernel import strata_products
from invariscope.statistics.moments.orbit_state import OrbitState, element_deviations, in_layer_shape
from invariscope.statistics.moments.variances import Moments, StrataMoments


def finalized_strata(state: OrbitState, buckets: np.ndarray, *, standard: bool) -> StrataMoments:
    """Return the moments of several strata.

    All buckets of a stratum share its reference orbit and its usual response, so nothing has to be moved.

    Args:
        buckets: (stratum, group, bucket) the buckets of each group.
        standard: whether mean standard deviations are kept.
    """
    sums, filled = state.sums, state.counts[buckets] > 0
    own = np.where(filled, state.strata[buckets], -1)
    references = np.maximum(own.max(axis=(1, 2)), 0)
    assert ((own == references[:, None, None]) | ~filled).all(), "buckets of another stratum"
    pivots = state.references.pivot
    squared, moving, mean = strata_products(sums.columns, buckets, state.counts, pivots, references)
    shape, counts = partial(in_layer_shape, state), _replicates(state.counts.astype(float), buckets)
    deviations = squares = None
    if standard:
        deviations = shape(_replicates(sums.deviations, buckets))
        deviating = partial(element_deviations, state)
        parts = zip(buckets.tolist(), references.tolist(), counts.T, strict=True)
        squares = shape(np.stack([deviating(*part) for part in parts], axis=1))
    together = Moments(
        counts.reshape(*counts.shape, *(1 for _ in state.shape)),
        state.elements,
        shape(np.moveaxis(squared, 1, 0)),
        shape(np.moveaxis(moving, 1, 0)),
        shape(_replicates(sums.within, buckets)),
        shape(_replicates(sums.total, buckets)),
        unusual=shape(_summed(sums.unusual, buckets)),
        clusters=state.clusters[buckets].sum(axis=(1, 2)).reshape(-1, *(1 for _ in state.shape)),
        decisive=_summed(sums.decisive, buckets).T,
        mean=shape(pivots[references].mean(axis=1, dtype=np.float64) + mean / state.elements),
        double=state.double,
        row_deviations=deviations,
        element_deviation=squares,
        strata=True,
    )
    return StrataMoments(together)


def _summed(array: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Return (stratum, ...) sums of a (bucket, ...) array over the buckets of each stratum."""
    members = buckets.reshape(len(buckets), -1)
    return array[members[:, 0]] if members.shape[1] == 1 else array[members].sum(axis=1)


def _replicates(array: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Return (replicate, stratum, ...) sums of a (bucket, ...) array."""
    parts = array[buckets[..., 0]] if buckets.shape[2] == 1 else array[buckets].sum(axis=2)
    return replicate_sums(parts.swapaxes(0, 1))
