"""Split readings that have a varying number of rows per sample, such as atoms, into uniform blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block


def row_blocks(frame: partial[Block], values: Tensor, row_of: Tensor, inputs: int) -> Iterator[Block]:
    """Yield a block for each number of rows that samples have; its units are (row, unit...).

    Samples whose number of rows differs between elements are left out: their rows cannot be compared.

    Args:
        frame: a block without values.
        values: (row, unit...) all rows of a forward.
        row_of: (row,) the forwarded input of each row, ascending.
        inputs: number of forwarded inputs.
    """
    places = torch.arange(inputs)[:, None]
    whole = frame(values=places, ragged=True)
    counts = np.bincount(row_of.cpu().numpy(), minlength=inputs)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    own = counts[whole.rows_of(np.arange(whole.samples), np.arange(whole.width))]  # (sample, column)
    steady = (own == own[:, :1]).all(axis=1)
    for count in np.unique(own[steady, 0]).tolist():
        if count:
            part = whole.repeated((steady & (own[:, 0] == count)).astype(np.int64))
            rows = starts[part.values[:, 0].numpy()][:, None] + np.arange(count)
            yield replace(part, values=values[torch.from_numpy(rows).to(values.device)])


def left_out(frame: partial[Block], row_of: Tensor, inputs: int) -> int:
    """Return how many samples have a number of rows that differs between elements."""
    whole = frame(values=torch.zeros(inputs, 1))
    counts = np.bincount(row_of.cpu().numpy(), minlength=inputs)
    own = counts[whole.rows_of(np.arange(whole.samples), np.arange(whole.width))]
    return int((own != own[:, :1]).any(axis=1).sum())
