"""Power of feature maps by spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from invariscope.block import Block, NotApplicableError
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sums import BucketSums, SumStatistic

_VALUES = 1 << 22  # of the maps that are transformed at once


@dataclass(frozen=True)
class RingMeans:
    """Mean power over samples, by channel.

    Args:
        power: (replicate, channel, ring) mean square of the part of a map within a ring; ring 0 is the
            constant part. All rings sum to the mean square of the map.
        moment: (replicate, channel) Σ |frequency| · power, in cycles per position.
        frequency: (ring,) centre of each ring, in cycles per position.
        double: whether the activations were float64.
    """

    power: np.ndarray
    moment: np.ndarray
    frequency: np.ndarray
    double: bool


@dataclass(frozen=True)
class RingPowers(SumStatistic):
    """Σ over samples of |F(k)|²/(HW)² by ring, with F the transform of the untransformed input's maps.

    Computed in float64. Frequencies are folded: those above half a cycle per position are negative.
    """

    reads = (Untransformed(),)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return one number per unit at most: there are fewer rings than positions."""
        return 8 * units

    def init(self, block: Block, *, buckets: int, pilot: object = None) -> BucketSums:
        """Return empty sums."""
        shape = tuple(block.values.shape[1:])
        if len(shape) != 3 or shape[1] * shape[2] < 2:
            raise NotApplicableError(
                f"a spectrum needs feature maps (C, H, W) with at least two positions; got {shape}"
            )
        rings = len(folded_rings(shape[1], shape[2])[1])
        return BucketSums.empty(block, buckets, {"power": (shape[0], rings), "moment": (shape[0],)})

    def update(self, state: BucketSums, block: Block) -> None:
        """Add the block's samples."""
        maps = block.rest().detach()
        folding = torch.from_numpy(_folding(*state.shape[1:])).to(maps.device)
        few = max(1, _VALUES // int(np.prod(state.shape)))
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            for low in range(0, len(samples), few):
                chosen = torch.from_numpy(samples[low : low + few]).to(maps.device)
                squares = torch.fft.rfft2(maps[chosen].double()).abs().square().sum(dim=0)
                found = (squares.flatten(1) @ folding).cpu().numpy()
                state.sums["power"][bucket] += found[:, :-1]
                state.sums["moment"][bucket] += found[:, -1]

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> RingMeans:
        """Return means over samples."""
        counts = state.samples(groups)[:, None]
        power = quotient(state.replicates("power", groups), counts[..., None])
        moment = quotient(state.replicates("moment", groups), counts)
        return RingMeans(power, moment, folded_rings(*state.shape[1:])[1], state.double)


@lru_cache(maxsize=64)
def folded_rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ring of every frequency (height, width), and the frequency of every ring.

    With n the larger side, ring r holds the frequencies with r − ½ ≤ n·√(u² + v²) < r + ½, where u and v are
    in cycles per position from −½ to ½. Empty rings are left out.

    >>> ring, frequency = folded_rings(1, 4)
    >>> ring.tolist(), frequency.tolist()
    ([[0, 1, 2, 1]], [0.0, 0.25, 0.5])
    """
    n = max(height, width)
    # The ring of a radius of exactly r + ½ must not depend on rounding.
    radii = np.floor(n * _radius(height, width) + 0.5 + 1e-9)
    found, ring = np.unique(radii, return_inverse=True)
    return ring.reshape(height, width), found / n


def _radius(height: int, width: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


@lru_cache(maxsize=64)
def _folding(height: int, width: int) -> np.ndarray:
    """Return (frequency of half the plane, ring + 1): sums squares by ring, and radii in the last column."""
    ring, frequency = folded_rings(height, width)
    half = width // 2 + 1
    twice = np.full(half, 2.0)  # the other half of the plane mirrors this one
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    weight = np.broadcast_to(twice, (height, half)) / (height * width) ** 2
    own = (ring[:, :half].ravel()[:, None] == np.arange(len(frequency))) * weight.ravel()[:, None]
    return np.concatenate([own, (_radius(height, width)[:, :half] * weight).reshape(-1, 1)], axis=1)
