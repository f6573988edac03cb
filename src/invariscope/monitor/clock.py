"""Time spent on training and on measuring."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter


@dataclass
class Lap:
    """Seconds before and during one call of a monitor.

    Args:
        before: seconds from the end of the previous call to the start of this one; NaN for the first call.
        during: seconds inside this call; NaN until it ends.
    """

    before: float
    during: float = math.nan


class Clock:
    """Clock that separates the time inside `lap()` from the time between laps."""

    def __init__(self) -> None:
        self._left = math.nan

    @contextmanager
    def lap(self) -> Iterator[Lap]:
        """Time the block, after waiting for GPU work queued before it."""
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
