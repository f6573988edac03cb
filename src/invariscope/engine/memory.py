"""Recognise forward passes that ran out of memory."""

from __future__ import annotations

import torch

HALVED = "half as many were forwarded from then on; batch_size= sets their number"


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is due to a lack of memory.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "t allocate memory" in str(error):
            return True
        error = error.__cause__
    return False
