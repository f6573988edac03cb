"""Squared distances between all pairs of untransformed samples in a drawn subset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.block import Block
from invariscope.common.draws import Stream
from invariscope.statistics.kept.drawn_subset import DrawnState, DrawnStatistic, without_groups
from invariscope.statistics.probes import Untransformed


@dataclass(frozen=True)
class PairDistances:
    """(sample, sample) squared distances within the subset, and the jackknife group of each sample."""

    squares: np.ndarray
    group: np.ndarray
    groups: int

    def medians(self, *, diagonal: bool = False) -> np.ndarray:
        """Return (replicate,) median over ordered pairs of different samples, or all pairs; NaN if none."""
        return np.array([self._median(kept, diagonal) for kept in without_groups(self.group, self.groups)])

    def _median(self, kept: np.ndarray, diagonal: bool) -> float:
        squares = self.squares[np.ix_(kept, kept)]
        chosen = squares if diagonal else squares[~np.eye(len(squares), dtype=bool)]
        return float(np.median(chosen)) if chosen.size else float("nan")


@dataclass(frozen=True)
class DistanceReservoir(DrawnStatistic):
    """Responses to the untransformed samples of a subset, all pairs of which are compared.

    Args:
        size: number of samples per stratum.
        seed: seed of the draw.
    """

    stream = Stream.DISTANCE_RESERVOIR
    reads = (Untransformed(),)
    size: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the memory of the responses of `size` samples."""
        return 4 * self.size * units

    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return (sample, unit) responses to the untransformed inputs."""
        rest = block.rest().detach().flatten(1).cpu()
        return (rest if rest.element_size() == 8 else rest.float()).numpy()[samples]

    def finalize(self, state: DrawnState, groups: list[list[int]]) -> PairDistances:
        """Return all pairs within the subset of the given groups of buckets."""
        rows, group = self.drawn(state, groups)
        rest = rows.astype(np.float64)
        return PairDistances(
            np.stack([np.square(rest - row).sum(axis=1) for row in rest]), group, len(groups)
        )
