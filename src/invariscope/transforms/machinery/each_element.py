"""Application of elements one at a time, for families without a formula for all elements at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from invariscope.transforms.machinery.traits import Motion

Change = Callable[[Tensor, int], Tensor]
"""Maps a batch (row, ...) and the index of an element to the changed batch."""


def by_element(values: Tensor, motion: Motion, change: Change) -> Tensor:
    """Return the values (sample, column, ...), changed by the element of each column.

    Args:
        values: inputs of any shape; expanded columns are not copied.
        motion: the motion, of which only the elements are used.
        change: called once per element, on a copy of all values to which the element applies.
    """
    elements = np.broadcast_to(motion.elements, values.shape[:2])
    out: Tensor | None = None
    for element in np.unique(elements).tolist():
        where = tuple(torch.from_numpy(axis).to(values.device) for axis in np.nonzero(elements == element))
        piece = change(values[where], element)
        if out is None:
            out = piece.new_empty(values.shape[1], values.shape[0], *piece.shape[1:]).transpose(0, 1)
        out = out.index_put_(where, piece)
    assert out is not None
    return out


def by_draw(values: Tensor, motion: Motion, change: Callable[[Tensor, int, int, int], Tensor]) -> Tensor:
    """Return the values (sample, column, ...), changed one by one: `change(value, element, row, column)`."""
    elements = np.broadcast_to(motion.elements, values.shape[:2])
    rows = [
        torch.stack([change(values[i, j], int(elements[i, j]), i, j) for j in range(values.shape[1])])
        for i in range(values.shape[0])
    ]
    return torch.stack(rows)


def widened(values: Tensor) -> Tensor:
    """Return float16 and bfloat16 values in float32, and others unchanged."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
