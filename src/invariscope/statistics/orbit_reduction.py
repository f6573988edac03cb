"""Reducing a block without the fused kernel: on another device, and for standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import Block
from invariscope.statistics.orbit_state import NonFiniteError, OrbitState

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


def orbit_view(rows: Tensor, block: Block) -> Tensor:
    """(sample, element, unit) of rows that stand as the block's do, without a copy."""
    stride = rows.stride(0)
    size = (block.samples, block.elements, rows.shape[1])
    steps = (block.sample_step * stride, block.element_step * stride, 1)
    return rows.as_strided(size, steps, rows.storage_offset())


def reduce_on_device(rows: Tensor, block: Block, state: OrbitState) -> None:
    """The kernel's sums in tensor operations, a chunk of units at a time."""
    sums, pivot = state.sums, state.device_pivot
    assert pivot is not None
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbit_view(rows, block)[:, :, units]
        head = orbit[:, 0]
        steps = orbit[:, 1:].double().sub_(head[:, None])
        squares = steps.square().sum(1)
        within = (squares - steps.sum(1).square() / state.elements).clamp_min(0)
        fired = (squares > 0) | (head != 0)
        for bucket, samples in block.membership:
            chosen = torch.from_numpy(samples).to(rows.device)
            offsets = orbit[chosen].double().sub_(pivot[:, units])
            sums.columns[bucket, :, units] += offsets.sum(0)
            sums.total[bucket, units] += offsets.square().sum((0, 1))
            sums.within[bucket, units] += within[chosen].sum(0)
            sums.firing[bucket, units] += fired[chosen].sum(0)
    # One sum over units costs a thirtieth of reading the block, and NaN and infinity survive it.
    if not sums.total[block.membership.runs[2]].sum().isfinite():
        raise NonFiniteError


def add_deviations(rows: Tensor, block: Block, state: OrbitState) -> None:
    """Σ_i std_j a_ij and Σ_i h_ij², in float64."""
    pivot = torch.from_numpy(state.pivot).to(rows.device)
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbit_view(rows, block)[:, :, units]
        deviations = (orbit - orbit[:, :1]).double().std(1)
        for bucket, samples in block.membership:
            chosen = torch.from_numpy(samples).to(rows.device)
            squares = (orbit[chosen] - pivot[:, units]).double().square().sum(0)
            _add(state.sums.deviations, (bucket, units), deviations[chosen].sum(0))
            _add(state.sums.squares, (bucket, slice(None), units), squares)


def _add(sums: Any, where: tuple, part: Tensor) -> None:
    sums[where] += part.numpy() if isinstance(sums, np.ndarray) else part
