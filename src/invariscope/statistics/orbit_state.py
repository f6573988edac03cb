"""The sums that a layer's orbits leave behind, by bucket."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import replicate_sums, with_buckets


class NonFiniteError(ValueError):
    """Responses hold NaN or infinity; the message is completed by whoever knows the layer."""


@dataclass
class Sums:
    """Sums over the samples of each bucket: arrays on the host, tensors on another device.

    With h_ij = a_ij − p_j for a fixed orbit p:
    columns: (bucket, element, unit) Σ_i h_ij; within: (bucket, unit) Σ_ij (a_ij − ā_i)²;
    total: Σ_ij h_ij²; firing: samples with a response other than zero;
    deviations: Σ_i std_j a_ij and squares: (bucket, element, unit) Σ_i h_ij², for spread "std" only.
    """

    columns: Any
    within: Any
    total: Any
    firing: Any
    deviations: Any = None
    squares: Any = None

    def arrays(self) -> dict[str, Any]:
        """The sums that are kept, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def on_host(self) -> Sums:
        """The sums as arrays."""
        return Sums(
            **{
                name: part.cpu().numpy() if isinstance(part, Tensor) else part
                for name, part in self.arrays().items()
            }
        )

    def on(self, device: torch.device) -> Sums:
        """The sums as tensors."""
        return Sums(**{name: torch.from_numpy(part).to(device) for name, part in self.arrays().items()})

    @classmethod
    def empty(cls, buckets: int, elements: int, units: int, *, standard: bool = False) -> Sums:
        """Zeros, with or without the sums of standard deviations."""
        return cls(
            columns=np.zeros((buckets, elements, units)),
            within=np.zeros((buckets, units)),
            total=np.zeros((buckets, units)),
            firing=np.zeros((buckets, units), np.int64),
            deviations=np.zeros((buckets, units)) if standard else None,
            squares=np.zeros((buckets, elements, units)) if standard else None,
        )


@dataclass
class OrbitState:
    """Sums by bucket, on the device that reduces the activations.

    Args:
        shape: the layer's own unit shape; with channels_last, units stand in memory as (H, W, C).
        double: whether the activations were float64.
        pivot: (element, unit) the fixed orbit, in the dtype in which rows are reduced.
        counts: (bucket,) samples.
        device_pivot: the pivot on the device; None on the host.
    """

    shape: tuple[int, ...]
    double: bool
    pivot: np.ndarray
    counts: np.ndarray
    sums: Sums
    channels_last: bool = False
    device_pivot: Tensor | None = field(default=None, repr=False)

    @property
    def elements(self) -> int:
        """How many elements an orbit has."""
        return len(self.pivot)

    def move_to(self, device: torch.device) -> None:
        """The sums to the device that reduces from now on."""
        self.device_pivot, self.sums = torch.from_numpy(self.pivot).to(device), self.sums.on(device)

    def enlarge(self, buckets: int) -> None:
        """Room for more buckets."""
        self.counts = with_buckets(self.counts, buckets)
        grown = {name: with_buckets(part, buckets) for name, part in self.sums.on_host().arrays().items()}
        self.sums = Sums(**grown)
        if self.device_pivot is not None:
            self.sums = self.sums.on(self.device_pivot.device)


def shifted(state: OrbitState, pivot: np.ndarray) -> Sums:
    """The state's sums, relative to another fixed orbit."""
    sums, count = state.sums.on_host(), state.counts[:, None].astype(float)
    delta = state.pivot.astype(np.float64) - pivot  # h' = h + delta
    moved = 2 * delta * sums.columns + count[..., None] * delta**2
    return replace(
        sums,
        columns=sums.columns + count[..., None] * delta,
        total=sums.total + moved.sum(axis=1),
        squares=None if sums.squares is None else sums.squares + moved,
    )


def by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """(bucket, ...) sums as (group, ...) sums; a view where groups are neighbouring buckets."""
    first = groups[0][0]
    if groups == [[first + g] for g in range(len(groups))]:
        return array[first : first + len(groups)]
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
