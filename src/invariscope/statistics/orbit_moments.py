"""First and second moments of a layer's responses along orbits and across samples, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block, Statistic, replicate_sums, with_buckets
from invariscope.statistics.moment_kernel import reduce_orbits, squared_columns
from invariscope.statistics.moments import Moments

# Sums of float32 differences are handed on to float64 totals before they grow longer than this.
_SINGLE_RUN = 32
_UNIT_CHUNK = 1 << 16
_COLLAPSE = {"before_mean": torch.mean, "before_max": torch.amax, "before_sum": torch.sum}

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


@dataclass
class _Sums:
    """Sums over samples, of one bucket (arrays as given) or of all (with a leading bucket axis).

    columns: (element − 1, unit) Σ_i d_ij, d_ij = a_ij − a_i0; base: Σ_i (a_i0 − c);
    within: Σ_ij (d_ij − d̄_i)²; total: Σ_ij (a_ij − c)²; firing: samples with a response;
    deviations: Σ_i std_j a_ij and squares: (element, unit) Σ_i (a_ij − c)², for spread "std" only.
    """

    columns: Any
    base: Any
    within: Any
    total: Any
    firing: Any
    deviations: Any = None
    squares: Any = None

    def arrays(self) -> list:
        entries = [
            self.columns,
            self.base,
            self.within,
            self.total,
            self.firing,
            self.deviations,
            self.squares,
        ]
        return [entry for entry in entries if entry is not None]


@dataclass
class OrbitState:
    """Sums by bucket on the host, and the sums of the one cell that is being filled."""

    shape: tuple[int, ...]
    elements: int
    double: bool
    pivot: np.ndarray
    counts: np.ndarray
    sums: _Sums
    channels_last: bool = False
    active: _Sums | None = None
    buckets: tuple[int, ...] = ()
    pending: int = 0
    device_pivot: Tensor | None = field(default=None, repr=False)


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
        rows, channels_last = _rows(self._collapsed(block.values))
        shape = tuple(self._collapsed(block.values[:1]).shape[1:])
        units = rows.shape[1]
        double = rows.dtype == torch.float64
        short = largest is not None and largest <= _SINGLE_RUN and self.selection is None
        columns = np.float32 if short and not double else np.float64
        return OrbitState(
            shape=shape,
            elements=block.elements,
            double=double,
            pivot=rows[0].double().cpu().numpy().copy(),
            counts=np.zeros(buckets, np.int64),
            sums=self._empty(units, block.elements, (buckets,), columns),
            channels_last=channels_last,
        )

    def _empty(self, units: int, elements: int, lead: tuple[int, ...], columns: type) -> _Sums:
        standard = self.spread == "std"
        return _Sums(
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
        return _COLLAPSE[self.collapse](values.double(), dim=tuple(range(2, values.ndim)))

    def update(self, state: OrbitState, block: Block) -> None:
        """Adds a block's orbits to their buckets."""
        if self.selection is not None:
            block = block.repeated(SELECTIONS[self.selection](block.ranks, block.sizes))
            if not block.samples:
                return
        rows, _ = _rows(self._collapsed(block.values))
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
            _refuse_non_finite(state.active.total)
        else:
            _reduce_on_device(rows, where, state)
        if self.spread == "std":
            _add_standard(rows, where, state)

    def _activate(self, state: OrbitState, rows: Tensor) -> _Sums:
        single = np.float64 if state.double else np.float32
        host = self._empty(rows.shape[1], state.elements, (), single)
        if rows.device.type == "cpu":
            return host
        # The device may have no float64 (mps): sums of at most 32 samples are kept in float32 there.
        state.device_pivot = torch.from_numpy(state.pivot).to(rows.device)
        moved = [None if a is None else torch.from_numpy(a).to(rows.device) for a in vars(host).values()]
        return _Sums(*moved)

    def enlarge(self, state: OrbitState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts = with_buckets(state.counts, buckets)
        grown = (None if a is None else with_buckets(a, buckets) for a in vars(state.sums).values())
        state.sums = _Sums(*grown)

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
        sums = _Sums(**{name[5:]: array for name, array in arrays.items() if name.startswith("sums.")})
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
        other = _shifted(second, first.pivot)
        pairs = zip(vars(first.sums).values(), vars(other).values(), strict=True)
        sums = _Sums(*(None if a is None else a + b for a, b in pairs))
        return replace(
            first, counts=first.counts + second.counts, sums=sums, active=None, buckets=(), pending=0
        )

    def finalize(self, state: OrbitState, groups: list[list[int]]) -> Moments:
        """Moments of the samples in the given groups of buckets; see `Statistic.finalize`."""
        flush(state)
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        parts: list[Any] = [None if a is None else _by_group(a, groups) for a in vars(state.sums).values()]
        columns, base, within, total, firing, deviations, squares = parts
        if deviations is not None:
            squares = _element_deviations(squares, base, columns, counts)
            deviations = _shape(state, replicate_sums(deviations))
        folded = (squared_columns(columns), replicate_sums(columns.sum(axis=1, dtype=np.float64)))
        sums = (*folded, *(replicate_sums(part) for part in (base, within, total)))
        return Moments(
            counts.reshape(-1, *(1 for _ in state.shape)),
            state.elements,
            *(_shape(state, array) for array in sums),
            firing=_shape(state, firing.sum(axis=0)),
            pivot=_shape(state, state.pivot),
            double=state.double,
            row_deviations=deviations,
            element_deviation=None if squares is None else _shape(state, squares),
        )


class NonFiniteError(ValueError):
    """Responses hold NaN or infinity; the message is completed by whoever knows the layer."""


def _refuse_non_finite(total: np.ndarray) -> None:
    # One sum over units costs a thirtieth of reading the block, and NaN and infinity survive it.
    if not np.isfinite(total.sum()):
        raise NonFiniteError


def _rows(values: Tensor) -> tuple[Tensor, bool]:
    """(row, unit) in memory order without a copy where possible, and whether channels come last."""
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    last = (
        values.ndim == 4
        and not values.is_contiguous()
        and values.is_contiguous(memory_format=torch.channels_last)
    )
    if last:
        values = values.permute(0, 2, 3, 1)
    return values.reshape(values.shape[0], -1).contiguous(), last


def flush(state: OrbitState) -> None:
    """Hands the sums of the cell being filled on to the totals of its buckets."""
    if state.active is None or state.pending == 0:
        return
    for total, part in zip(state.sums.arrays(), state.active.arrays(), strict=True):
        host = part if isinstance(part, np.ndarray) else part.cpu().numpy()
        for bucket in state.buckets:
            total[bucket] += host
        part[:] = 0
    _refuse_non_finite(state.sums.total[state.buckets[0]])
    state.pending = 0


def _orbit_view(rows: Tensor, where: tuple[int, int, int, int], elements: int, units: slice) -> Tensor:
    start, samples, sample_step, element_step = where
    stride = rows.stride(0)
    size = (samples, elements, rows.shape[1])
    view = rows.as_strided(
        size, (sample_step * stride, element_step * stride, 1), rows.storage_offset() + start * stride
    )
    return view[:, :, units]


def _reduce_on_device(rows: Tensor, where: tuple[int, int, int, int], state: OrbitState) -> None:
    """The kernel's sums in tensor operations, a chunk of units at a time."""
    active, pivot = state.active, state.device_pivot
    assert active is not None
    assert pivot is not None
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = _orbit_view(rows, where, state.elements, units)
        head = orbit[:, 0]
        steps = orbit[:, 1:] - head[:, None]
        wide = steps.to(pivot.dtype)
        sums, squares = wide.sum(1), wide.square().sum(1)
        offset = head.to(pivot.dtype) - pivot[units]
        active.columns[:, units] += steps.sum(0)
        active.base[units] += offset.sum(0)
        active.within[units] += (squares - sums.square() / state.elements).clamp_min(0).sum(0)
        active.total[units] += (squares + offset * (2 * sums + state.elements * offset)).sum(0)
        active.firing[units] += ((squares > 0) | (head != 0)).sum(0)


def _add_standard(rows: Tensor, where: tuple[int, int, int, int], state: OrbitState) -> None:
    """Σ_i std_j a_ij and Σ_i (a_ij − c)² of a run, in float64."""
    active = state.active
    assert active is not None
    assert active.squares is not None
    pivot = torch.from_numpy(state.pivot).to(rows.device)
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = _orbit_view(rows, where, state.elements, units).to(torch.float64)
        deviations = (orbit - orbit[:, :1]).std(1).sum(0)
        squares = (orbit - pivot[units]).square().sum(0)
        if isinstance(active.deviations, np.ndarray):
            deviations, squares = deviations.numpy(), squares.numpy()
        active.deviations[units] += deviations
        active.squares[:, units] += squares


def _shifted(state: OrbitState, pivot: np.ndarray) -> _Sums:
    """The state's sums, relative to another reference per unit."""
    sums, count, m = state.sums, state.counts[:, None].astype(float), state.elements
    delta = state.pivot - pivot
    along = m * sums.base + sums.columns.sum(axis=1)
    squares = sums.squares
    if squares is not None:
        means = sums.base[:, None] + _with_first(sums.columns, axis=1)
        squares = squares + 2 * delta * means + count[:, None] * delta**2
    return replace(
        sums,
        base=sums.base + count * delta,
        total=sums.total + 2 * delta * along + m * count * delta**2,
        squares=squares,
    )


def _with_first(columns: np.ndarray, *, axis: int) -> np.ndarray:
    """The column sums of d_ij with those of the pivot element, which are zero, in front."""
    return np.concatenate([np.zeros_like(columns.take([0], axis=axis)), columns], axis=axis)


def _by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    if [members[0] for members in groups] == list(range(len(array))) and all(len(g) == 1 for g in groups):
        return array
    return np.stack([array[members].sum(axis=0) for members in groups])


def _element_deviations(
    squares: np.ndarray, base: np.ndarray, columns: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """(replicate, unit) mean over elements of the standard deviation across samples."""
    means = replicate_sums(base[:, None] + _with_first(columns, axis=1).astype(float))
    n = counts[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(replicate_sums(squares) - means**2 / n, 0) / (n - 1)
    return np.sqrt(variance).mean(axis=1)


def _shape(state: OrbitState, array: np.ndarray) -> np.ndarray:
    """(..., unit) back in the layer's own shape."""
    lead = array.shape[:-1]
    if not state.channels_last:
        return array.reshape(*lead, *state.shape)
    channels, height, width = state.shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, len(lead))
