"""First and second moments of a layer's responses along orbits and across samples, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block, Statistic, replicate_sums, with_buckets
from invariscope.statistics.moment_kernel import column_products, reduce_orbits
from invariscope.statistics.moments import Moments
from invariscope.statistics.orbit_reduction import add_deviations, as_rows, orbit_view, reduce_on_device
from invariscope.statistics.orbit_state import (
    OrbitState,
    Sums,
    by_group,
    element_deviations,
    flush,
    in_layer_shape,
    refuse_non_finite,
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

    spread: str = "variance"
    collapse: str | None = None
    selection: str | None = None

    def init(self, block: Block, *, buckets: int) -> OrbitState:
        """An empty state; the fixed orbit is the mean of the block's first four, two, or one."""
        values = self._collapsed(block.values)
        rows, channels_last = as_rows(values)
        # A power of two of equal responses has exactly their mean, so that they differ from it by zero.
        few = 4 if block.samples >= 4 else min(block.samples, 2)
        first = (0, few, block.sample_step, block.element_step)
        pivot = orbit_view(rows, first, block.elements, slice(None)).mean(0).cpu().numpy()
        return OrbitState(
            shape=tuple(values.shape[1:]),
            double=block.values.dtype == torch.float64,
            pivot=np.ascontiguousarray(pivot),
            counts=np.zeros(buckets, np.int64),
            sums=Sums.empty(
                block.elements,
                rows.shape[1],
                lead=(buckets,),
                standard=self.spread == "std",
            ),
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
            block = block.repeated(SELECTIONS[self.selection](block.ranks, block.sizes))
            if not block.samples:
                return
        rows, _ = as_rows(block.values)
        for lo, hi, buckets in block.runs():
            where = (lo * block.sample_step, hi - lo, block.sample_step, block.element_step)
            self._add_run(state, rows, where, buckets)

    def _add_run(
        self, state: OrbitState, rows: Tensor, where: tuple[int, int, int, int], buckets: tuple[int, ...]
    ) -> None:
        for bucket in buckets:
            state.counts[bucket] += where[1]
        if rows.device.type == "cpu" and len(buckets) == 1:
            self._add_on_host(state.sums.of(buckets[0]), state, rows, where)
            return
        if state.buckets != buckets:
            flush(state)
            state.buckets = buckets
        if state.active is None:
            state.active = self._activate(state, rows)
        state.pending += where[1]
        if rows.device.type == "cpu":
            self._add_on_host(state.active, state, rows, where)
            return
        reduce_on_device(rows, where, state)
        if self.spread == "std":
            add_deviations(state.active, rows, where, state)

    def _add_on_host(
        self, sums: Sums, state: OrbitState, rows: Tensor, where: tuple[int, int, int, int]
    ) -> None:
        kept = (sums.columns, sums.within, sums.total, sums.firing)
        reduce_orbits(rows.numpy(), where, state.pivot, *kept, threads=torch.get_num_threads())
        refuse_non_finite(sums.total)
        if self.spread == "std":
            add_deviations(sums, rows, where, state)

    def _activate(self, state: OrbitState, rows: Tensor) -> Sums:
        host = Sums.empty(state.elements, rows.shape[1], standard=self.spread == "std")
        if rows.device.type == "cpu":
            return host
        state.device_pivot = torch.from_numpy(state.pivot).to(rows.device)
        return Sums(
            *(None if a is None else torch.from_numpy(a).to(rows.device) for a in vars(host).values())
        )

    def enlarge(self, state: OrbitState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)
        grown = (None if a is None else with_buckets(a, buckets) for a in vars(state.sums).values())
        state.sums = Sums(*grown)

    def pack(self, state: OrbitState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        flush(state)
        plain = {"shape": state.shape, "facts": (state.double, state.channels_last)}
        arrays = {name: np.array(value, np.int64) for name, value in plain.items()}
        sums = {f"sums.{name}": array for name, array in vars(state.sums).items() if array is not None}
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
        flush(first)
        flush(second)
        other = shifted(second, first.pivot.astype(np.float64))
        pairs = zip(vars(first.sums).values(), vars(other).values(), strict=True)
        sums = Sums(*(None if a is None else a + b for a, b in pairs))
        counts = first.counts + second.counts
        return replace(first, counts=counts, sums=sums, active=None, buckets=(), pending=0)

    def finalize(self, state: OrbitState, groups: list[list[int]]) -> Moments:
        """Moments of the samples in the given groups of buckets; see `Statistic.finalize`."""
        flush(state)
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        parts: list[Any] = [None if a is None else by_group(a, groups) for a in vars(state.sums).values()]
        columns, within, total, firing, deviations, squares = parts
        pivot = state.pivot.astype(np.float64)
        mean = pivot.mean(axis=0)
        squared, along, onto = column_products(columns, pivot - mean)
        sums = (squared, *(replicate_sums(part) for part in (along, onto, within, total)))
        shape = partial(in_layer_shape, state)
        if deviations is not None:
            squares = shape(element_deviations(squares, columns, counts))
            deviations = shape(replicate_sums(deviations))
        return Moments(
            counts.reshape(-1, *(1 for _ in state.shape)),
            state.elements,
            *map(shape, sums),
            firing=shape(firing.sum(axis=0)),
            pivot_mean=shape(mean),
            pivot_squares=shape(((pivot - mean) ** 2).sum(axis=0)),
            double=state.double,
            row_deviations=deviations,
            element_deviation=squares,
        )
