"""First and second moments of a layer's responses along orbits and across samples, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block, Statistic, replicate_sums, with_buckets
from invariscope.statistics.moment_kernel import reduce_orbits, squared_columns
from invariscope.statistics.moments import Moments
from invariscope.statistics.orbit_reduction import add_deviations, as_rows, reduce_on_device
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

# Sums of float32 differences are handed on to float64 totals before they grow longer than this.
_SINGLE_RUN = 32
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

    With d_ij = a_ij − a_i0 and a fixed reference c per unit, one pass keeps Σ_i d_ij for every
    element, and Σ_i (a_i0 − c), Σ_ij (d_ij − d̄_i)², Σ_ij (a_ij − c)². Totals are float64.

    Args:
        spread: "variance", or "std" to keep mean standard deviations too.
        collapse: reduce each feature map over its positions before any statistic: None,
            "before_mean", "before_max" or "before_sum"; units without positions stay as they are.
        selection: count samples as the 2019 code did ("windows", "whole_batches"); None counts each once.
    """

    spread: str = "variance"
    collapse: str | None = None
    selection: str | None = None

    def init(self, block: Block, *, buckets: int, largest: int | None = None) -> OrbitState:
        """An empty state; the reference c of each unit is the block's first response."""
        rows, channels_last = as_rows(self._collapsed(block.values))
        shape = tuple(self._collapsed(block.values[:1]).shape[1:])
        units = rows.shape[1]
        single = rows.dtype == torch.float32
        short = largest is not None and largest <= _SINGLE_RUN and self.selection is None
        columns = np.float32 if short and single else np.float64
        return OrbitState(
            shape=shape,
            elements=block.elements,
            double=block.values.dtype == torch.float64,
            pivot=rows[0].double().cpu().numpy().copy(),
            counts=np.zeros(buckets, np.int64),
            sums=self._empty(units, block.elements, (buckets,), columns),
            channels_last=channels_last,
        )

    def _empty(self, units: int, elements: int, lead: tuple[int, ...], columns: type) -> Sums:
        standard = self.spread == "std"
        return Sums(
            columns=np.zeros((*lead, elements - 1, units), columns),
            base=np.zeros((*lead, units)),
            within=np.zeros((*lead, units)),
            total=np.zeros((*lead, units)),
            firing=np.zeros((*lead, units), np.int64),
            deviations=np.zeros((*lead, units)) if standard else None,
            squares=np.zeros((*lead, elements, units)) if standard else None,
        )

    def _collapsed(self, values: Tensor) -> Tensor:
        if self.collapse is None or values.ndim < 3:
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
            for first in range(lo, hi, _SINGLE_RUN):
                self._add_run(state, rows, block, (first, min(first + _SINGLE_RUN, hi)), buckets)

    def _add_run(
        self, state: OrbitState, rows: Tensor, block: Block, run: tuple[int, int], buckets: tuple[int, ...]
    ) -> None:
        count = run[1] - run[0]
        if state.buckets != buckets or state.pending + count > _SINGLE_RUN:
            flush(state)
        if state.active is None:
            state.active = self._activate(state, rows)
        state.buckets, state.pending = buckets, state.pending + count
        for bucket in buckets:
            state.counts[bucket] += count
        where = (run[0] * block.sample_step, count, block.sample_step, block.element_step)
        if rows.device.type == "cpu":
            sums = state.active.arrays()[:5]
            reduce_orbits(rows.numpy(), where, state.pivot, *sums, threads=torch.get_num_threads())
            refuse_non_finite(state.active.total)
        else:
            reduce_on_device(rows, where, state)
        if self.spread == "std":
            add_deviations(rows, where, state)

    def _activate(self, state: OrbitState, rows: Tensor) -> Sums:
        columns = np.float32 if rows.dtype == torch.float32 else np.float64
        host = self._empty(rows.shape[1], state.elements, (), columns)
        if rows.device.type == "cpu":
            return host
        # The device may have no float64 (mps): sums of at most 32 samples are kept in float32 there.
        state.device_pivot = torch.from_numpy(state.pivot).to(rows.device)
        moved = [None if a is None else torch.from_numpy(a).to(rows.device) for a in vars(host).values()]
        return Sums(*moved)

    def enlarge(self, state: OrbitState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)
        grown = (None if a is None else with_buckets(a, buckets) for a in vars(state.sums).values())
        state.sums = Sums(*grown)

    def pack(self, state: OrbitState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        flush(state)
        plain = {"shape": state.shape, "facts": (state.elements, state.double, state.channels_last)}
        arrays = {name: np.array(value, np.int64) for name, value in plain.items()}
        sums = {f"sums.{name}": array for name, array in vars(state.sums).items() if array is not None}
        return arrays | sums | {"pivot": state.pivot, "counts": state.counts}

    def unpack(self, arrays: dict[str, np.ndarray]) -> OrbitState:
        """The sums from arrays."""
        elements, double, channels_last = arrays["facts"].tolist()
        sums = Sums(**{name[5:]: array for name, array in arrays.items() if name.startswith("sums.")})
        return OrbitState(
            shape=tuple(arrays["shape"].tolist()),
            elements=elements,
            double=bool(double),
            pivot=arrays["pivot"],
            counts=arrays["counts"],
            sums=sums,
            channels_last=bool(channels_last),
        )

    def merge(self, first: OrbitState, second: OrbitState) -> OrbitState:
        """The sums of both, relative to the first one's reference."""
        flush(first), flush(second)
        other = shifted(second, first.pivot)
        pairs = zip(vars(first.sums).values(), vars(other).values(), strict=True)
        sums = Sums(*(None if a is None else a + b for a, b in pairs))
        return replace(
            first, counts=first.counts + second.counts, sums=sums, active=None, buckets=(), pending=0
        )

    def finalize(self, state: OrbitState, groups: list[list[int]]) -> Moments:
        """Moments of the samples in the given groups of buckets; see `Statistic.finalize`."""
        flush(state)
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        parts: list[Any] = [None if a is None else by_group(a, groups) for a in vars(state.sums).values()]
        columns, base, within, total, firing, deviations, squares = parts
        if deviations is not None:
            squares = element_deviations(squares, base, columns, counts)
            deviations = in_layer_shape(state, replicate_sums(deviations))
        folded = (squared_columns(columns), replicate_sums(columns.sum(axis=1, dtype=np.float64)))
        sums = (*folded, *(replicate_sums(part) for part in (base, within, total)))
        return Moments(
            counts.reshape(-1, *(1 for _ in state.shape)),
            state.elements,
            *(in_layer_shape(state, array) for array in sums),
            firing=in_layer_shape(state, firing.sum(axis=0)),
            pivot=in_layer_shape(state, state.pivot),
            double=state.double,
            row_deviations=deviations,
            element_deviation=None if squares is None else in_layer_shape(state, squares),
        )
