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
    """Yield one block for every number of rows that occurs; its units are (row, unit...).

    Samples whose number of rows differs between elements are left out, since their rows cannot be compared.

    Args:
        frame: a block without values.
        values: (row, unit...) all rows of a forward pass.
        row_of: (row,) the forwarded input of each row, ascending.
        inputs: number of forwarded inputs.
    """
    whole = frame(values=torch.arange(inputs)[:, None], ragged=True)
    counts = np.bincount(row_of.cpu().numpy(), minlength=inputs)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    own = _rows_per_sample(whole, counts)
    for count in np.unique(own[own > 0]).tolist():
        part = whole.repeated((own == count).astype(np.int64))
        rows = starts[part.values[:, 0].numpy()][:, None] + np.arange(count)
        yield replace(part, values=values[torch.from_numpy(rows).to(values.device)])


def left_out(frame: partial[Block], row_of: Tensor, inputs: int) -> tuple[int, int]:
    """Return the number of samples without comparable rows, and the number of other samples without a null.

    The former have no rows, or numbers of rows that differ between elements; the latter have a partner with
    a different number of rows.
    """
    whole = frame(values=torch.zeros(inputs, 1))
    own = _rows_per_sample(whole, np.bincount(row_of.cpu().numpy(), minlength=inputs))
    if whole.partners is None:
        return int((own <= 0).sum()), 0
    other = (own > 0) & (whole.partners >= 0) & (own[whole.partners] != own)
    return int((own <= 0).sum()), int(other.sum())


def _rows_per_sample(whole: Block, counts: np.ndarray) -> np.ndarray:
    """Return (sample,) numbers of rows from (input,) counts; -1 for samples whose elements differ."""
    own = counts[whole.rows_of(np.arange(whole.samples), np.arange(whole.width))]  # (sample, column)
    return np.where((own == own[:, :1]).all(axis=1), own[:, 0], -1)
