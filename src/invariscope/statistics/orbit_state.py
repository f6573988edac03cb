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
    """Sums over samples, of one cell (arrays as given) or of all buckets (with a leading bucket axis).

    With h_ij = a_ij − p_j for a fixed orbit p:
    columns: (element, unit) Σ_i h_ij; within: Σ_ij (a_ij − ā_i)²; total: Σ_ij h_ij²;
    firing: samples with a response other than zero;
    deviations: Σ_i std_j a_ij and squares: (element, unit) Σ_i h_ij², for spread "std" only.
    """

    columns: Any
    within: Any
    total: Any
    firing: Any
    deviations: Any = None
    squares: Any = None

    def arrays(self) -> list:
        """The sums that are kept, in order."""
        return [array for array in vars(self).values() if array is not None]

    def of(self, bucket: int) -> Sums:
        """One bucket's sums, as views."""
        return Sums(*(None if array is None else array[bucket] for array in vars(self).values()))

    @classmethod
    def empty(
        cls,
        elements: int,
        units: int,
        *,
        lead: tuple[int, ...] = (),
        standard: bool = False,
    ) -> Sums:
        """Zeros, for `elements` × `units`, with or without the sums of standard deviations."""
        return cls(
            columns=np.zeros((*lead, elements, units)),
            within=np.zeros((*lead, units)),
            total=np.zeros((*lead, units)),
            firing=np.zeros((*lead, units), np.int64),
            deviations=np.zeros((*lead, units)) if standard else None,
            squares=np.zeros((*lead, elements, units)) if standard else None,
        )


@dataclass
class OrbitState:
    """Sums by bucket on the host, and the sums of the one cell that is being filled.

    On the host, a cell that is counted in one bucket alone is filled in place. A cell of several
    buckets, and whatever another device reduces, is filled apart (`active`) and handed on when full.

    Args:
        shape: the layer's own unit shape; with channels_last, units stand in memory as (H, W, C).
        double: whether the activations were float64.
        pivot: (element, unit) the fixed orbit, in the dtype in which rows are reduced.
        counts: (bucket,) samples.
    """

    shape: tuple[int, ...]
    double: bool
    pivot: np.ndarray
    counts: np.ndarray
    sums: Sums
    channels_last: bool = False
    active: Sums | None = None
    buckets: tuple[int, ...] = ()
    pending: int = 0
    device_pivot: Tensor | None = field(default=None, repr=False)

    @property
    def elements(self) -> int:
        """How many elements an orbit has."""
        return len(self.pivot)


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
    """The state's sums, relative to another fixed orbit."""
    sums, count = state.sums, state.counts[:, None].astype(float)
    delta = state.pivot.astype(np.float64) - pivot  # h' = h + delta
    moved = 2 * delta * sums.columns + count[..., None] * delta**2
    return replace(
        sums,
        columns=sums.columns + count[..., None] * delta,
        total=sums.total + moved.sum(axis=1),
        squares=None if sums.squares is None else sums.squares + moved,
    )


def by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """(bucket, ...) sums as (group, ...) sums."""
    if [members[0] for members in groups] == list(range(len(array))) and all(len(g) == 1 for g in groups):
        return array
    return np.stack([array[members].sum(axis=0) for members in groups])


def element_deviations(squares: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(replicate, unit) mean over elements of the standard deviation across samples."""
    n = counts[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(replicate_sums(squares) - replicate_sums(columns) ** 2 / n, 0) / (n - 1)
    return np.sqrt(variance).mean(axis=1)


def in_layer_shape(state: OrbitState, array: np.ndarray) -> np.ndarray:
    """(..., unit) back in the layer's own shape."""
    lead = array.shape[:-1]
    if not state.channels_last:
        return array.reshape((*lead, *state.shape))
    channels, height, width = state.shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, len(lead))
