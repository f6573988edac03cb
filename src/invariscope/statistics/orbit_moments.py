"""First and second moments of a layer's responses along orbits and across samples, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block, Statistic, replicate_sums
from invariscope.statistics.moment_kernel import column_products, reduce_orbits
from invariscope.statistics.moments import Moments
from invariscope.statistics.orbit_reduction import add_deviations, as_rows, orbit_view, reduce_on_device
from invariscope.statistics.orbit_state import (
    NonFiniteError,
    OrbitState,
    Sums,
    by_group,
    element_deviations,
    in_layer_shape,
    shifted,
)

_COLLAPSE = {
    "before_mean": partial(torch.mean, dtype=torch.float64),
    "before_max": torch.amax,
    "before_sum": partial(torch.sum, dtype=torch.float64),
}

SPREADS = ("variance", "std")
POOLS = (None, "after", "ratio", "before_mean", "before_max", "before_sum")


def _windows(ranks: Any, sizes: Any, *, width: int = 64) -> np.ndarray:
    """How many of the windows k … k + 63, k < ⌊n/64⌋, hold the sample of that rank."""
    last = sizes // width - 1
    return np.clip(np.minimum(ranks, last) - np.maximum(ranks - width + 1, 0) + 1, 0, None)


def _whole_batches(ranks: Any, sizes: Any, *, width: int = 64) -> np.ndarray:
    """1 for the samples in the first ⌊n/64⌋ batches of 64, else 0."""
    return (ranks < sizes // width * width).astype(np.int64)


SELECTIONS = {"windows": _windows, "whole_batches": _whole_batches}


@dataclass(frozen=True)
class OrbitMoments(Statistic):
    """Sums from which every variance of the family follows: along orbits, across samples, in total.

    With e_ij = a_ij − a_i0 and h_ij = a_ij − p_j for one fixed orbit p per unit, one pass keeps
    Σ_i h_ij for every element, Σ_ij h_ij², and Σ_ij (e_ij − ē_i)², all in float64.

    Args:
        spread: "variance", or "std" to keep mean standard deviations too.
        collapse: reduce each feature map over its positions before any statistic: None,
            "before_mean", "before_max" or "before_sum"; units without positions stay as they are.
        selection: count samples as the 2019 code did ("windows", "whole_batches"); None: each once.
    """

    refuses_nonfinite: ClassVar[bool] = True
    spread: str = "variance"
    collapse: str | None = None
    selection: str | None = None

    def units_of(self, shape: tuple[int, ...]) -> int:
        """All of them, or one a feature map where maps are collapsed first."""
        return shape[0] if self.collapse is not None and len(shape) > 2 else math.prod(shape)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Sums a unit and element, and three a unit; twice as many with standard deviations."""
        columns = 2 if self.spread == "std" else 1
        return 8 * units * (columns * elements + 3)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> OrbitState:
        """An empty state; the fixed orbit is the mean of a few orbits that stand far apart in the block."""
        values = self._collapsed(block.values)
        rows, channels_last = as_rows(values)
        # A power of two of equal responses has exactly their mean, so that they differ from it by zero.
        few = 1 << min(block.samples.bit_length() - 1, 2)
        apart = block.samples // few
        pivot = orbit_view(rows, block)[::apart][:few].mean(0)
        return OrbitState(
            shape=tuple(values.shape[1:]),
            double=block.values.dtype == torch.float64,
            pivot=np.ascontiguousarray(pivot.cpu().numpy()),
            counts=np.zeros(buckets, np.int64),
            sums=Sums.empty(buckets, *pivot.shape, standard=self.spread == "std"),
            channels_last=channels_last,
        )

    def _collapsed(self, values: Tensor) -> Tensor:
        if self.collapse is None or values.ndim < 4:
            return values
        return _COLLAPSE[self.collapse](values, dim=tuple(range(2, values.ndim)))

    def update(self, state: OrbitState, block: Block) -> None:
        """Adds a block's orbits to their buckets."""
        # Collapsed first: a selection may repeat a sample 64 times, and maps are large.
        block = replace(block, values=self._collapsed(block.values))
        if self.selection is not None:
            block = block.repeated(SELECTIONS[self.selection](block.positions, block.sizes))
            if not block.samples:
                return
        rows, _ = as_rows(block.values)
        _, edges, buckets = block.membership.runs
        state.counts[buckets] += np.diff(edges)
        if rows.device.type != "cpu" and state.device_pivot is None:  # new, merged, or from a checkpoint
            state.move_to(rows.device)
        if state.device_pivot is None:
            self._reduce_on_host(state, block, rows)
        else:
            reduce_on_device(rows, block, state)
        if self.spread == "std":
            add_deviations(rows, block, state)

    def _reduce_on_host(self, state: OrbitState, block: Block, rows: Tensor) -> None:
        sums, steps = state.sums, (block.sample_step, block.element_step)
        kept = (sums.columns, sums.within, sums.total, sums.firing)
        if not reduce_orbits(
            rows.numpy(), steps, block.membership.runs, state.pivot, *kept, threads=torch.get_num_threads()
        ):
            raise NonFiniteError

    def enlarge(self, state: OrbitState, buckets: int) -> None:
        """Room for more buckets."""
        state.enlarge(buckets)

    def pack(self, state: OrbitState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        plain = {"shape": state.shape, "facts": (state.double, state.channels_last)}
        arrays = {name: np.array(value, np.int64) for name, value in plain.items()}
        sums = {f"sums.{name}": array for name, array in state.sums.on_host().arrays().items()}
        return arrays | sums | {"pivot": state.pivot, "counts": state.counts}

    def unpack(self, arrays: dict[str, np.ndarray]) -> OrbitState:
        """The sums from arrays."""
        double, channels_last = arrays["facts"].tolist()
        return OrbitState(
            shape=tuple(arrays["shape"].tolist()),
            double=bool(double),
            pivot=arrays["pivot"],
            counts=arrays["counts"],
            sums=Sums(**{name[5:]: array for name, array in arrays.items() if name.startswith("sums.")}),
            channels_last=bool(channels_last),
        )

    def merge(self, first: OrbitState, second: OrbitState) -> OrbitState:
        """The sums of both, relative to the first one's fixed orbit."""
        other = shifted(second, first.pivot.astype(np.float64))
        mine, theirs = first.sums.on_host().arrays(), other.arrays()
        sums = Sums(**{name: mine[name] + theirs[name] for name in mine})
        counts = first.counts + second.counts
        return replace(first, counts=counts, sums=sums, device_pivot=None)

    def finalize(self, state: OrbitState, groups: list[list[int]]) -> Moments:
        """Moments of the samples in the given groups of buckets; see `Statistic.finalize`."""
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        parts: list[Any] = [
            None if a is None else by_group(a, groups) for a in vars(state.sums.on_host()).values()
        ]
        columns, within, total, firing, deviations, squares = parts
        pivot = state.pivot.astype(np.float64)
        mean = pivot.mean(axis=0)
        squared, along, onto = column_products(columns, pivot - mean)
        finals = (squared, along, onto, replicate_sums(within), replicate_sums(total))
        shape = partial(in_layer_shape, state)
        if deviations is not None:
            squares = shape(element_deviations(squares, columns, counts))
            deviations = shape(replicate_sums(deviations))
        return Moments(
            counts.reshape(-1, *(1 for _ in state.shape)),
            state.elements,
            *map(shape, finals),
            firing=shape(firing.sum(axis=0)),
            pivot_mean=shape(mean),
            pivot_squares=shape(((pivot - mean) ** 2).sum(axis=0)),
            double=state.double,
            row_deviations=deviations,
            element_deviation=squares,
        )
