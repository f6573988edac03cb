"""Reducing a block without the fused kernel: on another device, and for standard deviations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.orbit_state import OrbitState, Sums

_UNIT_CHUNK = 1 << 16


def as_rows(values: Tensor) -> tuple[Tensor, bool]:
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


def orbit_view(rows: Tensor, where: tuple[int, int, int, int], elements: int, units: slice) -> Tensor:
    """(sample, element, unit) of some units, without a copy."""
    start, samples, sample_step, element_step = where
    stride = rows.stride(0)
    size = (samples, elements, rows.shape[1])
    steps = (sample_step * stride, element_step * stride, 1)
    return rows.as_strided(size, steps, rows.storage_offset() + start * stride)[:, :, units]


def reduce_on_device(rows: Tensor, where: tuple[int, int, int, int], state: OrbitState) -> None:
    """The kernel's sums in tensor operations, a chunk of units at a time."""
    active, pivot = state.active, state.device_pivot
    assert active is not None
    assert pivot is not None
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbit_view(rows, where, state.elements, units)
        head = orbit[:, 0]
        steps = (orbit[:, 1:] - head[:, None]).to(active.total.dtype)
        offsets = (orbit - pivot[:, units]).to(active.total.dtype)
        squares = steps.square().sum(1)
        active.columns[:, units] += offsets.sum(0)
        active.within[units] += (squares - steps.sum(1).square() / state.elements).clamp_min(0).sum(0)
        active.total[units] += offsets.square().sum((0, 1))
        active.firing[units] += ((squares > 0) | (head != 0)).sum(0)


def add_deviations(sums: Sums, rows: Tensor, where: tuple[int, int, int, int], state: OrbitState) -> None:
    """Σ_i std_j a_ij and Σ_i h_ij² of a run, in float64."""
    pivot = torch.from_numpy(state.pivot).to(rows.device)
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbit_view(rows, where, state.elements, units)
        deviations = (orbit - orbit[:, :1]).double().std(1).sum(0)
        squares = (orbit - pivot[:, units]).double().square().sum(0)
        if isinstance(sums.deviations, np.ndarray):
            deviations, squares = deviations.numpy(), squares.numpy()
        sums.deviations[units] += deviations
        sums.squares[:, units] += squares
