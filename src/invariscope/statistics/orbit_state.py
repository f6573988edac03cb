"""The sums that a layer's orbits leave behind, by bucket, and the cell that is being filled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.statistics.base import replicate_sums


class NonFiniteError(ValueError):
    """Responses hold NaN or infinity; the message is completed by whoever knows the layer."""


def refuse_non_finite(total: np.ndarray) -> None:
    """Raises if any of the sums is NaN or infinite."""
    # One sum over units costs a thirtieth of reading the block, and NaN and infinity survive it.
    if not np.isfinite(total.sum()):
        raise NonFiniteError


@dataclass
class Sums:
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
        """The sums that are kept, in order."""
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
    sums: Sums
    channels_last: bool = False
    active: Sums | None = None
    buckets: tuple[int, ...] = ()
    pending: int = 0
    device_pivot: Tensor | None = field(default=None, repr=False)


def flush(state: OrbitState) -> None:
    """Hands the sums of the cell being filled on to the totals of its buckets."""
    if state.active is None or state.pending == 0:
        return
    for total, part in zip(state.sums.arrays(), state.active.arrays(), strict=True):
        host = part if isinstance(part, np.ndarray) else part.cpu().numpy()
        for bucket in state.buckets:
            total[bucket] += host
        part[:] = 0
    refuse_non_finite(state.sums.total[state.buckets[0]])
    state.pending = 0


def shifted(state: OrbitState, pivot: np.ndarray) -> Sums:
    """The state's sums, relative to another reference per unit."""
    sums, count, m = state.sums, state.counts[:, None].astype(float), state.elements
    delta = state.pivot - pivot
    along = m * sums.base + sums.columns.sum(axis=1)
    squares = sums.squares
    if squares is not None:
        means = sums.base[:, None] + with_pivot_element(sums.columns, axis=1)
        squares = squares + 2 * delta * means + count[:, None] * delta**2
    return replace(
        sums,
        base=sums.base + count * delta,
        total=sums.total + 2 * delta * along + m * count * delta**2,
        squares=squares,
    )


def with_pivot_element(columns: np.ndarray, *, axis: int) -> np.ndarray:
    """The column sums of d_ij with those of the pivot element, which are zero, in front."""
    return np.concatenate([np.zeros_like(columns.take([0], axis=axis)), columns], axis=axis)


def by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """(bucket, ...) sums as (group, ...) sums."""
    if [members[0] for members in groups] == list(range(len(array))) and all(len(g) == 1 for g in groups):
        return array
    return np.stack([array[members].sum(axis=0) for members in groups])


def element_deviations(
    squares: np.ndarray, base: np.ndarray, columns: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """(replicate, unit) mean over elements of the standard deviation across samples."""
    means = replicate_sums(base[:, None] + with_pivot_element(columns, axis=1).astype(float))
    n = counts[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(replicate_sums(squares) - means**2 / n, 0) / (n - 1)
    return np.sqrt(variance).mean(axis=1)


def in_layer_shape(state: OrbitState, array: np.ndarray) -> np.ndarray:
    """(..., unit) back in the layer's own shape."""
    lead = array.shape[:-1]
    if not state.channels_last:
        return array.reshape((*lead, *state.shape))
    channels, height, width = state.shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, len(lead))
