"""States that are nothing but named sums by bucket."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from invariscope.statistics.base import Statistic, replicate_sums, with_buckets


@dataclass
class BucketSums:
    """Sums over the samples of each bucket.

    Args:
        counts: (bucket,) samples.
        sums: (bucket, ...) float64, by name.
        shape: the layer's own unit shape.
        double: whether the activations were float64.
        fixed: what the sums are relative to, the same for all buckets.
    """

    counts: np.ndarray
    sums: dict[str, np.ndarray]
    shape: tuple[int, ...]
    double: bool
    fixed: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def replicates(self, name: str, groups: list[list[int]]) -> np.ndarray:
        """(replicate, ...) one of the sums over all groups of buckets, and over all but each."""
        return replicate_sums(np.stack([self.sums[name][members].sum(axis=0) for members in groups]))


class SumStatistic(Statistic):
    """A statistic whose state is `BucketSums`; what is summed is its own affair."""

    @abc.abstractmethod
    def relative_to(self, state: BucketSums, fixed: np.ndarray) -> Mapping[str, np.ndarray]:
        """The state's sums, had they been taken relative to `fixed`."""

    def enlarge(self, state: BucketSums, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)
        state.sums = {name: with_buckets(part, buckets) for name, part in state.sums.items()}

    def pack(self, state: BucketSums) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        facts = {"shape": np.array(state.shape, np.int64), "double": np.array(state.double)}
        sums = {f"sums.{name}": part for name, part in state.sums.items()}
        return facts | sums | {"counts": state.counts, "fixed": state.fixed}

    def unpack(self, arrays: dict[str, np.ndarray]) -> BucketSums:
        """The sums from arrays."""
        return BucketSums(
            counts=arrays["counts"],
            sums={name[5:]: part for name, part in arrays.items() if name.startswith("sums.")},
            shape=tuple(arrays["shape"].tolist()),
            double=bool(arrays["double"]),
            fixed=arrays["fixed"],
        )

    def merge(self, first: BucketSums, second: BucketSums) -> BucketSums:
        """The sums of both."""
        moved = self.relative_to(second, first.fixed)
        sums = {name: part + moved[name] for name, part in first.sums.items()}
        return replace(first, counts=first.counts + second.counts, sums=sums)
