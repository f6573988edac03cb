"""How long training takes, and how long looking at it does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter


@dataclass
class Lap:
    """Seconds of one call.

    Args:
        before: from the end of the previous call to the start of this one; NaN for the first.
        during: inside this call, known once it is over.
    """

    before: float
    during: float = math.nan


class Clock:
    """Divides the time of a program into what lies inside `lap()` and what lies between."""

    def __init__(self) -> None:
        self._left = math.nan

    @contextmanager
    def lap(self) -> Iterator[Lap]:
        """Times the block; queued work of a GPU is waited for, so that it counts where it was asked for."""
        _finish_queued()
        entered = perf_counter()
        lap = Lap(before=entered - self._left)
        try:
            yield lap
        finally:
            self._left = perf_counter()
            lap.during = self._left - entered


def _finish_queued() -> None:
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
