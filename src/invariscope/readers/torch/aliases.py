"""Recognise readings that repeat another one: the same memory in the same order, with no write in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Footprint:
    """Identifier of the values of a tensor during its lifetime.

    Args:
        pointer: address of its first value (storage and offset).
        version: version counter, shared by all views of a storage and increased by every in-place operation;
            None in inference mode, which has no counters.
        checksum: detects writes that the counter misses, such as those through `.data`.
    """

    pointer: int
    version: int | None
    checksum: float

    @classmethod
    def of(cls, tensor: Tensor) -> Footprint:
        """Return the footprint of a tensor, in one pass over its values."""
        if tensor.is_inference() or not tensor.numel():
            return cls(0, None, 0.0)
        order = _memory_order(tensor)
        return cls(tensor.data_ptr(), tensor._version, float(order.double().abs().sum()) + float(order[0]))

    def repeats(self, earlier: Footprint) -> bool:
        """Return whether two footprints identify the same values."""
        return self.version is not None and self == earlier


def _memory_order(tensor: Tensor) -> Tensor:
    axes = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return tensor.detach().permute(axes).reshape(-1)


def memory_layout(values: Tensor) -> tuple[Any, ...]:
    """Return the layout of (batch, *unit) values in memory, which determines their order.

    Unit axes are merged if possible, so that (C, H, W) and its flattened view have the same layout.

    >>> maps = torch.zeros(2, 3, 4, 4)
    >>> memory_layout(maps) == memory_layout(maps.flatten(1))
    True
    >>> memory_layout(maps) == memory_layout(maps.transpose(1, 2))
    False
    """
    return values.dtype, values.shape[0], values.stride(0), *_merged(values.shape[1:], values.stride()[1:])


def _merged(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    axes: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * stride:
            axes[-1] = (axes[-1][0] * size, stride)
        else:
            axes.append((size, stride))
    return axes


def same_values(a: Tensor, b: Tensor) -> bool:
    """Return whether two blocks of (batch, *unit) values are equal, in the same order; NaN equals NaN."""
    if a.numel() != b.numel() or a.dtype != b.dtype:
        return False
    return torch.allclose(a.reshape(len(a), -1), b.reshape(len(b), -1), rtol=0, atol=0, equal_nan=True)
