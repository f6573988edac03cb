"""Euclidean distances of all pairs along each orbit, and of all pairs within a reservoir of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.draws import Stream
from invariscope.statistics.base import sums_of_groups
from invariscope.statistics.errors import NonFiniteError
from invariscope.statistics.kept.drawn_subset import DrawnState, DrawnStatistic, without_groups
from invariscope.statistics.mean_distances import LayerDistances, MeanDistances, as_channels
from invariscope.statistics.rounding import quotient
from invariscope.statistics.visits import Visits


@dataclass(frozen=True)
class Reservoir(DrawnStatistic):
    """Mean distances along all orbits, and the orbits of a few samples, for distances across samples.

    Kept orbits have the axes (sample, element, channel, position). The sum "along" (1 + channel,) is over
    mean distances along orbits, of the whole layer and of its channels. "decisive" (3,) holds the number of
    clusters, Σ d and Σ d² over clusters, where d is a cluster's contribution to "along" of the layer.

    Args:
        size: number of samples per stratum, all pairs of which are compared.
        seed: seed of the draw.
    """

    stream = Stream.ORBIT_RESERVOIR
    size: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the whole orbits of `size` samples."""
        return 4 * self.size * units * elements

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> DrawnState:
        """Return an empty state."""
        state = super().init(block, buckets=buckets)
        maps = state.rows.shape[2] if block.values.ndim > 2 else 0
        state.sums = {"along": np.zeros((buckets, 1 + maps)), "decisive": np.zeros((buckets, 3))}
        return state

    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return (sample, element, channel, position) of the selected samples, on the host."""
        orbits = block.orbits()[torch.from_numpy(samples).to(block.values.device)].cpu()
        orbits = orbits if orbits.dtype == torch.float64 else orbits.float()
        channels = orbits.shape[2] if orbits.ndim > 3 else 1
        positions = int(np.prod(orbits.shape[2:])) // channels
        return orbits.reshape(*orbits.shape[:2], channels, positions).numpy()

    def update(self, state: DrawnState, block: Block) -> None:
        """Add a block's orbits."""
        along = _along(as_channels(block), maps=state.sums["along"].shape[1] > 1)
        if not np.isfinite(along).all():
            raise NonFiniteError
        visits = Visits.of(block.membership, block.clusters)
        state.sums["decisive"][visits.buckets] += visits.sums_of_clusters(along[:, 0])
        for bucket, samples in block.membership:
            state.sums["along"][bucket] += along[samples].sum(axis=0)
        super().update(state, block)

    def finalize(self, state: DrawnState, groups: list[list[int]]) -> LayerDistances:
        """Return mean distances for all samples, and with each group left out."""
        sums, counts = sums_of_groups(state.sums["along"], groups), sums_of_groups(state.counts, groups)
        along, across = quotient(sums, counts[:, None]), self._across(state, groups)
        decisive = sums_of_groups(state.sums["decisive"], groups)[0]
        layer, channels = (
            MeanDistances(along[:, part], across[:, part], decisive) for part in (slice(0, 1), slice(1, None))
        )
        return LayerDistances(layer, channels if sums.shape[1] > 1 else None)

    def _across(self, state: DrawnState, groups: list[list[int]]) -> np.ndarray:
        """Return the (replicate, 1 + channel) mean distance between the stratum's kept samples."""
        rows, group = self.drawn(state, groups)
        pairs = _pair_distances(rows, maps=state.sums["along"].shape[1] > 1)
        return np.stack([_mean_of_pairs(pairs, kept) for kept in without_groups(group, len(groups))])


def _along(orbits: Tensor, *, maps: bool) -> np.ndarray:
    """Return the (sample, 1 + channel) mean distance of the pairs along each orbit."""
    squares = _squares(orbits.transpose(1, 2))
    elements = squares.shape[-1]
    total = squares.sum(1, keepdim=True)
    both = torch.cat([total, squares], dim=1) if maps else total
    return (both.sqrt().sum((-1, -2)) / (elements * (elements - 1))).cpu().numpy()


def _pair_distances(orbits: np.ndarray, *, maps: bool) -> np.ndarray:
    """Return (1 + channel, sample, sample) distances, averaged over elements."""
    found = 0.0
    for element in range(orbits.shape[1]):
        vectors = torch.from_numpy(orbits[:, element]).double().transpose(0, 1)
        squares = _squares(vectors)
        total = squares.sum(0, keepdim=True)
        found = found + (torch.cat([total, squares]) if maps else total).sqrt()
    return (found / orbits.shape[1]).numpy()  # type: ignore[union-attr]


def _squares(vectors: Tensor) -> Tensor:
    """Return (..., i, k) squared distances of (..., i, component) vectors, by exact differences."""
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist").square()


def _mean_of_pairs(pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    count = int(kept.sum())
    if count < 2:
        return np.full(len(pairs), np.nan)
    return pairs[:, kept][:, :, kept].sum(axis=(1, 2)) / (count * (count - 1))
