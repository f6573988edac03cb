"""States that consist of named sums by bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from invariscope.block import Block
from invariscope.statistics.base import Statistic, sums_of_groups, with_buckets
from invariscope.statistics.fixed_points import FixedPoints


@dataclass
class BucketSums:
    """Sums over the samples of each bucket.

    Args:
        counts: (bucket,) number of samples.
        sums: (bucket, ...) by name.
        shape: the layer's own unit shape.
        double: whether the activations were float64.
        fixed: reference points of the sums, by stratum; None if there are none.
        facts: arrays that are equal in all states of a layer, by name.
    """

    counts: np.ndarray
    sums: dict[str, np.ndarray]
    shape: tuple[int, ...]
    double: bool
    fixed: FixedPoints | None = None
    facts: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def empty(
        cls,
        block: Block,
        buckets: int,
        sizes: Mapping[str, tuple[int, ...]],
        *,
        fixed: tuple[int, ...] | None = None,
        facts: dict[str, np.ndarray] | None = None,
        kind: type = float,
    ) -> BucketSums:
        """Return zeros for a block's layer.

        Args:
            sizes: shapes of the sums of one bucket, by name.
            fixed: shape of a reference point.
            kind: dtype of the sums.
        """
        return cls(
            np.zeros(buckets, np.int64),
            {name: np.zeros((buckets, *size), kind) for name, size in sizes.items()},
            tuple(block.values.shape[1:]),
            block.values.dtype == torch.float64,
            None if fixed is None else FixedPoints.empty(buckets, fixed),
            facts or {},
        )

    @property
    def points(self) -> FixedPoints:
        """The reference points of the sums."""
        assert self.fixed is not None
        return self.fixed

    def replicates(self, name: str, groups: list[list[int]]) -> np.ndarray:
        """Return one of the sums as (replicate, ...): over all groups of buckets, then with each left out."""
        return sums_of_groups(self.sums[name], groups)

    def samples(self, groups: list[list[int]]) -> np.ndarray:
        """Return the (replicate,) number of samples, as floats."""
        return sums_of_groups(self.counts.astype(float), groups)


class SumStatistic(Statistic):
    """A statistic whose state is `BucketSums`."""

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> Mapping[str, np.ndarray]:
        """Return the state's sums relative to other reference points."""
        raise NotImplementedError("these sums have no reference points")

    def together(self, state: BucketSums, groups: list[list[int]]) -> BucketSums:
        """Return the state with sums that can be added over all of these buckets, even across strata."""
        members = [bucket for group in groups for bucket in group]
        shared = None if state.fixed is None else state.fixed.shared(members)
        if shared is None:
            return state
        return replace(state, sums=dict(self.relative_to(state, shared)), fixed=shared)

    def enlarge(self, state: BucketSums, buckets: int) -> None:
        """Append empty buckets."""
        state.counts = with_buckets(state.counts, buckets)
        state.sums = {name: with_buckets(part, buckets) for name, part in state.sums.items()}
        if state.fixed is not None:
            state.fixed.enlarge(buckets)

    def pack(self, state: BucketSums) -> dict[str, np.ndarray]:
        """Return the sums as arrays."""
        known = {"shape": np.array(state.shape, np.int64), "double": np.array(state.double)}
        sums = {f"sums.{name}": part for name, part in state.sums.items()}
        facts = {f"facts.{name}": part for name, part in state.facts.items()}
        fixed = {} if state.fixed is None else state.fixed.pack()
        return known | sums | facts | {"counts": state.counts} | fixed

    def unpack(self, arrays: dict[str, np.ndarray]) -> BucketSums:
        """Restore the sums from arrays."""

        def named(prefix: str) -> dict[str, Any]:
            return {n.removeprefix(prefix): part for n, part in arrays.items() if n.startswith(prefix)}

        shape, double = tuple(arrays["shape"].tolist()), bool(arrays["double"])
        fixed = FixedPoints.unpack(arrays) if "fixed.values" in arrays else None
        return BucketSums(arrays["counts"], named("sums."), shape, double, fixed, named("facts."))

    def merge(self, first: BucketSums, second: BucketSums) -> BucketSums:
        """Return the sums over both sets of samples."""
        fixed, moved = None, second.sums
        if first.fixed is not None:
            fixed = first.fixed.merged(second.points)
            moved = self.relative_to(second, fixed)
        sums = {name: part + moved[name] for name, part in first.sums.items()}
        return replace(first, counts=first.counts + second.counts, sums=sums, fixed=fixed)
