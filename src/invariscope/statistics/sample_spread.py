"""How far the untransformed samples lie apart in a layer: the scale of every displacement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from invariscope.statistics.base import Block, Statistic, replicate_sums, with_buckets
from invariscope.statistics.rounding import without_rounding
from invariscope.statistics.spread_kernel import add_offsets


@dataclass
class SpreadState:
    """Sums by bucket of h_i = f(x_i) − p, for the response p to one sample.

    Args:
        pivot: (unit,) p, float64.
        counts: (bucket,) samples.
        sums: (bucket, unit) Σ_i h_i.
        squares: (bucket,) Σ_i ‖h_i‖².
    """

    pivot: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class Spread:
    """Mean squared distances between samples, by replicate.

    Args:
        samples: (replicate,) number of samples.
        variance: (replicate,) Σ_u ⟨f_u²⟩ − ⟨f_u⟩², the mean squared distance to the mean.
    """

    samples: np.ndarray
    variance: np.ndarray

    def distance(self, *, diagonal: bool = False) -> np.ndarray:
        """(replicate,) ⟨‖f(x) − f(z)‖²⟩ over ordered pairs of different samples, or over all n² pairs."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 1.0 if diagonal else self.samples / (self.samples - 1)
            return 2 * self.variance * share


@dataclass(frozen=True)
class SampleSpread(Statistic):
    """Mean and mean square of the responses to untransformed samples, in float64, around one of them.

    The probe `Identity` must be among those forwarded.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """A sum a unit."""
        return 8 * units

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> SpreadState:
        """An empty state around the first sample's response."""
        pivot = _responses(block)[0].astype(np.float64)
        return SpreadState(
            pivot, np.zeros(buckets, np.int64), np.zeros((buckets, len(pivot))), np.zeros(buckets)
        )

    def update(self, state: SpreadState, block: Block) -> None:
        """Adds the block's samples."""
        _, starts, buckets = runs = block.membership.runs
        state.counts[buckets] += np.diff(starts)
        add_offsets(_responses(block), state.pivot, runs, state.sums, state.squares)

    def enlarge(self, state: SpreadState, buckets: int) -> None:
        """Room for more buckets."""
        for name in ("counts", "sums", "squares"):
            setattr(state, name, with_buckets(getattr(state, name), buckets))

    def pack(self, state: SpreadState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        return dict(vars(state))

    def unpack(self, arrays: dict[str, np.ndarray]) -> SpreadState:
        """The sums from arrays."""
        return SpreadState(**arrays)

    def merge(self, first: SpreadState, second: SpreadState) -> SpreadState:
        """The sums of both, around the first one's sample."""
        delta = second.pivot - first.pivot
        count = second.counts.astype(float)
        sums = second.sums + count[:, None] * delta
        squares = second.squares + 2 * second.sums @ delta + count * (delta @ delta)
        counts = first.counts + second.counts
        return replace(first, counts=counts, sums=first.sums + sums, squares=first.squares + squares)

    def finalize(self, state: SpreadState, groups: list[list[int]]) -> Spread:
        """Mean squared distance to the mean, of the given groups of buckets."""
        counts, sums, squares = (
            replicate_sums(np.stack([part[members].sum(axis=0) for members in groups]).astype(float))
            for part in (state.counts, state.sums, state.squares)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, square = sums / counts[:, None], squares / counts
            varied = without_rounding(square - np.square(mean).sum(axis=1), square)
            return Spread(counts, np.maximum(varied, 0))


def _responses(block: Block) -> np.ndarray:
    """(sample, unit) responses to the untransformed inputs, in single precision at least."""
    found = block.probe("identity")[:, 0].detach().flatten(1).cpu()
    return (found if found.dtype in (torch.float32, torch.float64) else found.float()).contiguous().numpy()
