"""Euclidean distances: of all pairs along each orbit, and of all pairs within a reservoir of samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.base import Statistic, replicate_sums, with_buckets
from invariscope.statistics.kept.drawn_subset import of_stratum, smallest
from invariscope.statistics.mean_distances import LayerDistances, MeanDistances, as_channels
from invariscope.statistics.moments.orbit_state import NonFiniteError
from invariscope.statistics.visits import Visits

_SUMS = ("counts", "along", "decisive")


@dataclass
class ReservoirState:
    """Sums along orbits, and the orbits of the samples that were kept.

    Args:
        counts: (bucket,) samples.
        along: (bucket, 1 + channel) sums of mean distances along orbits, of the layer and of channels.
        decisive: (bucket, 3) clusters, Σ d and Σ d² over them, d what each adds to `along` of the layer.
        keys: (kept,) uint64 the drawn number of each kept sample.
        buckets: (kept,) the bucket in which it is kept.
        orbits: (kept, element, channel, position) in the precision of the activations.
        shape: the layer's own unit shape.
    """

    counts: np.ndarray
    along: np.ndarray
    decisive: np.ndarray
    keys: np.ndarray
    buckets: np.ndarray
    orbits: np.ndarray
    shape: tuple[int, ...]

    @property
    def double(self) -> bool:
        """Whether the activations were float64."""
        return self.orbits.dtype == np.float64


@dataclass(frozen=True)
class Reservoir(Statistic):
    """The samples with the smallest drawn numbers of each bucket, with their orbits.

    A sample's number is a hash of its position in the data set and of the seed, so that which samples are
    kept depends neither on their order nor on blocks, processes or a resume.

    Args:
        size: how many samples of a stratum are compared, all pairs of them.
        seed: of the draw.
    """

    size: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Whole orbits of `size` samples."""
        return 4 * self.size * units * elements

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> ReservoirState:
        """An empty state."""
        orbits = _kept(block, np.zeros(0, np.int64))
        shape = tuple(block.values.shape[1:])
        maps = orbits.shape[2] if len(shape) > 1 else 0
        along = np.zeros((buckets, 1 + maps))
        nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        empty = np.zeros(buckets, np.int64), along, np.zeros((buckets, 3))
        return ReservoirState(*empty, *nothing, orbits, shape)

    def update(self, state: ReservoirState, block: Block) -> None:
        """Adds a block's orbits."""
        along = _along(as_channels(block), maps=state.along.shape[1] > 1)
        if not np.isfinite(along).all():
            raise NonFiniteError
        visits = Visits.of(block.membership, block.clusters)
        state.decisive[visits.buckets] += visits.sums_of_clusters(along[:, 0])
        keys = drawn_words(block.keys, self.seed, Stream.ORBIT_RESERVOIR)
        chosen, into = [], []
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            state.along[bucket] += along[samples].sum(axis=0)
            wanted = samples[np.argsort(keys[samples], kind="stable")[: self.size]]
            mine = state.keys[state.buckets == bucket]
            wanted = wanted[keys[wanted] < mine.max()] if len(mine) >= self.size else wanted
            chosen.append(wanted)
            into.append(np.full(len(wanted), bucket))
        self._keep(state, block, keys, np.concatenate(chosen), np.concatenate(into))

    def _keep(
        self, state: ReservoirState, block: Block, keys: np.ndarray, chosen: np.ndarray, into: np.ndarray
    ) -> None:
        if len(chosen):
            state.keys = np.concatenate([state.keys, keys[chosen]])
            state.buckets = np.concatenate([state.buckets, into])
            state.orbits = np.concatenate([state.orbits, _kept(block, chosen)])
            self._cut(state)

    def _cut(self, state: ReservoirState) -> None:
        """Drops all but the smallest keys of each bucket."""
        rows = smallest(state.keys, state.buckets, self.size)
        state.keys, state.buckets, state.orbits = state.keys[rows], state.buckets[rows], state.orbits[rows]

    def enlarge(self, state: ReservoirState, buckets: int) -> None:
        """Room for more buckets."""
        for name in _SUMS:
            setattr(state, name, with_buckets(getattr(state, name), buckets))

    def pack(self, state: ReservoirState) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return {**vars(state), "shape": np.array(state.shape, np.int64)}

    def unpack(self, arrays: dict[str, np.ndarray]) -> ReservoirState:
        """The state from arrays."""
        shape = tuple(arrays["shape"].tolist())
        return ReservoirState(**{name: part for name, part in arrays.items() if name != "shape"}, shape=shape)

    def merge(self, first: ReservoirState, second: ReservoirState) -> ReservoirState:
        """The smallest keys of both."""
        both = {
            name: np.concatenate([getattr(first, name), getattr(second, name)])
            for name in ("keys", "buckets", "orbits")
        }
        sums = {name: getattr(first, name) + getattr(second, name) for name in _SUMS}
        merged = replace(first, **sums, **both)
        self._cut(merged)
        return merged

    def finalize(self, state: ReservoirState, groups: list[list[int]]) -> LayerDistances:
        """Mean distances, of all samples and of all but each group's."""
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        sums = replicate_sums(np.stack([state.along[members].sum(axis=0) for members in groups]))
        across = self._across(state, groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            along = sums / counts[:, None]
        members = [bucket for group in groups for bucket in group]
        decisive = state.decisive[members].sum(axis=0)
        views = (
            MeanDistances(along[:, part], across[:, part], decisive) for part in (slice(0, 1), slice(1, None))
        )
        layer, channels = views
        return LayerDistances(layer, channels if len(state.shape) > 1 else None)

    def _across(self, state: ReservoirState, groups: list[list[int]]) -> np.ndarray:
        """(replicate, 1 + channel) mean distance of pairs of the stratum's kept samples."""
        rows, group = of_stratum(state.keys, state.buckets, groups, self.size)
        pairs = _pair_distances(state.orbits[rows], maps=state.along.shape[1] > 1)
        left_out = [-1, *range(len(groups))] if len(groups) > 1 else [-1]
        return np.stack([_mean_of_pairs(pairs, group != g) for g in left_out])


def _kept(block: Block, chosen: np.ndarray) -> np.ndarray:
    """(sample, element, channel, position) of the chosen samples, on the host."""
    orbits = block.orbits()[torch.from_numpy(chosen).to(block.values.device)].cpu()
    orbits = orbits if orbits.dtype == torch.float64 else orbits.float()
    flat = orbits.ndim < 4
    size = (1, int(np.prod(orbits.shape[2:]))) if flat else (orbits.shape[2], int(np.prod(orbits.shape[3:])))
    return orbits.reshape(*orbits.shape[:2], *size).numpy()


def _along(orbits: Tensor, *, maps: bool) -> np.ndarray:
    """(sample, 1 + channel) mean distance of the pairs along each orbit."""
    squares = _squares(orbits.transpose(1, 2))
    elements = squares.shape[-1]
    total = squares.sum(1, keepdim=True)
    both = torch.cat([total, squares], dim=1) if maps else total
    return (both.sqrt().sum((-1, -2)) / (elements * (elements - 1))).cpu().numpy()


def _pair_distances(orbits: np.ndarray, *, maps: bool) -> np.ndarray:
    """(1 + channel, sample, sample) distances, averaged over elements."""
    found = 0.0
    for element in range(orbits.shape[1]):
        vectors = torch.from_numpy(orbits[:, element]).double().transpose(0, 1)
        squares = _squares(vectors)
        total = squares.sum(0, keepdim=True)
        found = found + (torch.cat([total, squares]) if maps else total).sqrt()
    return (found / orbits.shape[1]).numpy()  # type: ignore[union-attr]


def _squares(vectors: Tensor) -> Tensor:
    """(..., i, k) squared distances of (..., i, component) vectors; by differences, never by products."""
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist").square()


def _mean_of_pairs(pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    count = int(kept.sum())
    if count < 2:
        return np.full(len(pairs), np.nan)
    return pairs[:, kept][:, :, kept].sum(axis=(1, 2)) / (count * (count - 1))
