"""Reference points of sums: the first sample of each stratum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from invariscope.block import Membership
from invariscope.statistics.base import with_buckets


@dataclass
class FixedPoints:
    """Reference point of each stratum, its first sample; sums are taken relative to it, for precision.

    Args:
        values: (stratum, ...) float64.
        known: (stratum,) whether the stratum has had a sample.
        strata: (bucket,) the stratum of each bucket, -1 until a sample is counted there.
    """

    values: np.ndarray
    known: np.ndarray
    strata: np.ndarray

    @classmethod
    def empty(cls, buckets: int, shape: tuple[int, ...]) -> FixedPoints:
        """Return points for buckets that have no stratum yet."""
        return cls(np.zeros((0, *shape)), np.zeros(0, bool), np.full(buckets, -1))

    def meet(self, membership: Membership, point: Callable[[int], np.ndarray]) -> None:
        """Set the points of new strata to their first sample in the block."""
        _, _, buckets = membership.runs
        strata = membership.run_strata
        self.strata[buckets] = strata
        self._make_room(int(strata.max()) + 1)
        for stratum in np.unique(strata[~self.known[strata]]).tolist():
            self.values[stratum] = point(int(membership.by_stratum[stratum][0][0]))
            self.known[stratum] = True

    def _make_room(self, strata: int) -> None:
        if strata > len(self.known):
            room = max(strata, 2 * len(self.known))
            self.values, self.known = with_buckets(self.values, room), with_buckets(self.known, room)

    def enlarge(self, buckets: int) -> None:
        """Append empty buckets."""
        self.strata = np.concatenate([self.strata, np.full(buckets - len(self.strata), -1)])

    def copy(self) -> FixedPoints:
        """Return a copy with its own arrays."""
        return FixedPoints(*(np.array(part) for part in vars(self).values()))

    def merged(self, other: FixedPoints) -> FixedPoints:
        """Return these points, completed by the other's for strata that are missing here."""
        both = self.copy()
        both._make_room(len(other.known))
        new = np.flatnonzero(other.known & ~both.known[: len(other.known)])
        both.values[new], both.known[new] = other.values[new], True
        both.strata = np.maximum(self.strata, other.strata)
        return both

    def moves_to(self, target: FixedPoints) -> np.ndarray:
        """Return each bucket's point minus the target's, (bucket, ...); 0 for empty buckets."""
        found = np.zeros((len(self.strata), *self.values.shape[1:]))
        filled = np.flatnonzero(self.strata >= 0)
        strata = self.strata[filled]
        found[filled] = self.values[strata] - target.values[strata]
        return found

    def shared(self, buckets: list[int]) -> FixedPoints | None:
        """Return the first bucket's point, to be used for all strata; None if there is only one stratum."""
        strata = [stratum for stratum in self.strata[buckets].tolist() if stratum >= 0]
        if len(set(strata)) < 2:
            return None
        return FixedPoints(
            np.broadcast_to(self.values[strata[0]], self.values.shape), self.known, self.strata
        )

    def pack(self) -> dict[str, np.ndarray]:
        """Return the points as named arrays."""
        return {f"fixed.{name}": part for name, part in vars(self).items()}

    @classmethod
    def unpack(cls, arrays: dict[str, np.ndarray]) -> FixedPoints:
        """Restore the points from the arrays that `pack` returned."""
        values, known, strata = (arrays[f"fixed.{name}"] for name in ("values", "known", "strata"))
        return cls(values, known.astype(bool), strata)
