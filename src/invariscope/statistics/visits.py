"""Visits: the samples of a block, sorted by the buckets in which they are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from invariscope.block import Membership


@dataclass(frozen=True)
class Visits:
    """Samples of a block sorted by bucket; the samples of one bucket form a run.

    Args:
        samples: (visit,) position of each visit's sample in the block, sorted by bucket.
        edges: (run + 1,) first visit of each bucket's run.
        buckets, strata: (run,) the bucket of each run, and the stratum of that bucket.
        first: (visit,) whether a visit is the first of its cluster in its run.

    >>> visits = Visits.of(Membership(np.array([[1], [0], [1]])), np.array([7, 7, 7]))
    >>> visits.samples.tolist(), visits.edges.tolist(), visits.first.tolist()
    ([1, 0, 2], [0, 1, 3], [True, True, False])
    """

    samples: np.ndarray
    edges: np.ndarray
    buckets: np.ndarray
    strata: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, membership: Membership, clusters: np.ndarray | None) -> Visits:
        """Return all visits of a block; without clusters, every sample counts as its own cluster.

        They are cached in the membership, which all layers share.
        """
        known = membership.__dict__.get("_visits")
        if known is None or known[0] is not clusters:
            known = clusters, cls._of(membership, clusters)
            membership.__dict__["_visits"] = known
        return known[1]

    @classmethod
    def _of(cls, membership: Membership, clusters: np.ndarray | None) -> Visits:
        samples, edges, buckets = membership.runs
        first = np.ones(len(samples), bool)
        if clusters is not None:
            first[1:] = np.diff(clusters[samples]) != 0
            first[edges[:-1]] = True
        return cls(samples, edges, buckets, membership.run_strata, first)

    def __iter__(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield (bucket, stratum, samples) of each run."""
        for run, bucket in enumerate(self.buckets.tolist()):
            yield bucket, int(self.strata[run]), self.samples[self.edges[run] : self.edges[run + 1]]

    def only(self, runs: np.ndarray) -> Visits:
        """Return the visits of the runs chosen by a (run,) mask."""
        sizes = np.diff(self.edges)
        visits = np.repeat(runs, sizes)
        edges = np.append(0, np.cumsum(sizes[runs]))
        return Visits(self.samples[visits], edges, self.buckets[runs], self.strata[runs], self.first[visits])

    @cached_property
    def sizes(self) -> np.ndarray:
        """(run,) number of samples."""
        return np.diff(self.edges)

    @cached_property
    def _starts(self) -> np.ndarray:
        """(cluster,) first visit of each cluster."""
        return np.flatnonzero(self.first)

    @cached_property
    def _edges_of_clusters(self) -> np.ndarray:
        """(run + 1,) first cluster of each run."""
        return np.searchsorted(self._starts, self.edges)

    @cached_property
    def clusters(self) -> np.ndarray:
        """(run,) number of clusters in each run."""
        return np.diff(self._edges_of_clusters)

    @cached_property
    def reach(self) -> tuple[int, int, int]:
        """Largest sample, bucket and stratum, each replaced by -1 if any entry is negative."""
        parts = (self.samples, self.buckets, self.strata)
        return tuple(int(part.max()) if part.min() >= 0 else -1 for part in parts)  # type: ignore[return-value]

    def sums_of_clusters(self, contributions: np.ndarray) -> np.ndarray:
        """Return (run, 3) number of clusters, Σ d and Σ d² over them, from (sample,) contributions."""
        sums = np.add.reduceat(contributions[self.samples], self._starts)
        edges, found = self._edges_of_clusters[:-1], np.empty((len(self.buckets), 3))
        found[:, 0] = self.clusters
        np.add.reduceat(sums, edges, out=found[:, 1])
        np.add.reduceat(sums * sums, edges, out=found[:, 2])
        return found
