"""Digests of the samples of a walk, which show repeated samples, and data that change between walks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from invariscope.data.window import Window

_MOST = 1 << 22  # digests take 16 bytes per sample
# With k copies of each sample, squared intervals should be about k times as large.
_NARROW = 1.05


@dataclass(eq=False)
class Contents:
    """Keys and digests of the samples of a walk, of the first 4 million at most.

    Args:
        clustered: whether the samples have clusters.
        ordered: whether equal keys mean the same sample in another walk.
    """

    clustered: bool = False
    ordered: bool = True
    _keys: list[np.ndarray] = field(default_factory=list)
    _digests: list[np.ndarray] = field(default_factory=list)

    def add(self, window: Window) -> None:
        """Add the samples of a window."""
        self.clustered |= window.clusters is not None
        if len(self) < _MOST:
            self._keys.append(window.keys)
            self._digests.append(window.digests)

    def __len__(self) -> int:
        return sum(map(len, self._digests))

    @property
    def keys(self) -> np.ndarray:
        """(sample,) keys."""
        return np.concatenate(self._keys) if self._keys else np.zeros(0, np.int64)

    @property
    def digests(self) -> np.ndarray:
        """(sample,) digests of the inputs."""
        return np.concatenate(self._digests) if self._digests else np.zeros(0, np.int64)

    def join(self, other: Contents) -> None:
        """Add the samples of another part of a walk."""
        self.clustered |= other.clustered
        self._keys += other._keys
        self._digests += other._digests

    def pack(self) -> dict[str, np.ndarray]:
        """Return the content as arrays."""
        return {"keys": self.keys, "digests": self.digests}

    def notes(self) -> list[str]:
        """Return a note if so many samples repeat others that intervals may be too narrow.

        If samples occur c₁, c₂, … times, the variance of a mean over n samples is (c₁² + c₂² + …) / n times
        as large as that over different samples.
        """
        counts = np.unique(self.digests, return_counts=True)[1]
        total = int(counts.sum())
        if self.clustered or total < 2 or float((counts**2.0).sum()) <= _NARROW * total:
            return []
        return [
            f"only {len(counts):,} of {total:,} samples are distinct; the others repeat them. Unless they "
            "were drawn independently, intervals are too narrow: give clusters=, equal for equal samples"
        ]

    def changed(self, other: Contents) -> int:
        """Return how many samples differ between two walks, one of which may be shorter."""
        _, mine, theirs = np.intersect1d(self.keys, other.keys, return_indices=True)
        one, two = self.digests, other.digests
        differ = int((one[mine] != two[theirs]).sum())
        if not differ or (self.ordered and other.ordered):
            return differ
        few, many = sorted((one, two), key=len)
        return len(few) - _common(few, many)


def _common(few: np.ndarray, many: np.ndarray) -> int:
    """Return how many values two arrays share, counting repeated values as often as both have them."""
    values, counts = np.unique(few, return_counts=True)
    others, theirs = np.unique(many, return_counts=True)
    _, left, right = np.intersect1d(values, others, return_indices=True)
    return int(np.minimum(counts[left], theirs[right]).sum())


@dataclass(eq=False)
class Rereading:
    """Notes whether data that are walked several times give the same samples each time."""

    first: Contents | None = None
    changed: int = 0

    def add(self, contents: Contents) -> None:
        """Compare the samples of a further walk with those of the first."""
        if self.first is None:
            self.first = contents
        else:
            self.changed = max(self.changed, contents.changed(self.first))

    def notes(self) -> Iterable[str]:
        """Return a note if they differed."""
        if not self.changed:
            return []
        return [
            f"the data differed when they were read again, in {self.changed:,} samples: thresholds, random "
            "networks (baseline=) and repeats= were measured on other samples than the values. Give data "
            "that are the same each time, or hold them in memory"
        ]
