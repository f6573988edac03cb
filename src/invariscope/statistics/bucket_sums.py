"""States that are nothing but named sums by bucket."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from invariscope.statistics.base import Statistic, replicate_sums, with_buckets
from invariscope.statistics.fixed_points import FixedPoints


@dataclass
class BucketSums:
    """Sums over the samples of each bucket.

    Args:
        counts: (bucket,) samples.
        sums: (bucket, ...) float64, by name.
        shape: the layer's own unit shape.
        double: whether the activations were float64.
        fixed: what the sums are relative to, by stratum; None: nothing.
    """

    counts: np.ndarray
    sums: dict[str, np.ndarray]
    shape: tuple[int, ...]
    double: bool
    fixed: FixedPoints | None = None

    def replicates(self, name: str, groups: list[list[int]]) -> np.ndarray:
        """(replicate, ...) one of the sums over all groups of buckets, and over all but each."""
        return replicate_sums(np.stack([self.sums[name][members].sum(axis=0) for members in groups]))


class SumStatistic(Statistic):
    """A statistic whose state is `BucketSums`; what is summed is its own affair."""

    @abc.abstractmethod
    def relative_to(self, state: BucketSums, fixed: FixedPoints | None) -> Mapping[str, np.ndarray]:
        """The state's sums, had they been taken relative to `fixed`."""

    def together(self, state: BucketSums, groups: list[list[int]]) -> BucketSums:
        """The state with sums that can be added over all of these buckets, whatever their strata."""
        members = [bucket for group in groups for bucket in group]
        shared = None if state.fixed is None else state.fixed.shared(members)
        if shared is None:
            return state
        return replace(state, sums=dict(self.relative_to(state, shared)), fixed=shared)

    def enlarge(self, state: BucketSums, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)
        state.sums = {name: with_buckets(part, buckets) for name, part in state.sums.items()}
        if state.fixed is not None:
            state.fixed.enlarge(buckets)

    def pack(self, state: BucketSums) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        facts = {"shape": np.array(state.shape, np.int64), "double": np.array(state.double)}
        sums = {f"sums.{name}": part for name, part in state.sums.items()}
        fixed = {} if state.fixed is None else state.fixed.pack()
        return facts | sums | {"counts": state.counts} | fixed

    def unpack(self, arrays: dict[str, np.ndarray]) -> BucketSums:
        """The sums from arrays."""
        return BucketSums(
            counts=arrays["counts"],
            sums={name[5:]: part for name, part in arrays.items() if name.startswith("sums.")},
            shape=tuple(arrays["shape"].tolist()),
            double=bool(arrays["double"]),
            fixed=FixedPoints.unpack(arrays) if "fixed.values" in arrays else None,
        )

    def merge(self, first: BucketSums, second: BucketSums) -> BucketSums:
        """The sums of both."""
        fixed = None
        if first.fixed is not None and second.fixed is not None:
            fixed = first.fixed.merged(second.fixed)
        moved = self.relative_to(second, fixed)
        sums = {name: part + moved[name] for name, part in first.sums.items()}
        return replace(first, counts=first.counts + second.counts, sums=sums, fixed=fixed)
