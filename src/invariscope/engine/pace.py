"""Choose the number of inputs per forward pass, from the time that the first blocks take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

# Fewer inputs per forward pass are used only if they are clearly faster, since responses must then be copied.
_GAIN = 0.95
_LEAST = 4
_TRIES = 2


@dataclass
class Pace:
    """Divides a block's inputs among forward passes.

    Args:
        most: largest number of inputs per forward pass; None: no limit.
        tries: whether to try smaller numbers of inputs in the first blocks, and keep the fastest one.

    >>> Pace(most=6).parts(16)
    [slice(0, 6, None), slice(6, 12, None), slice(12, 16, None)]
    """

    most: int | None = None
    tries: bool = False
    seconds: dict[int, list[float]] = field(default_factory=dict)

    def parts(self, rows: int) -> list[slice]:
        """Return the inputs of each forward pass of a block."""
        size = min(self._next(rows) or self._fastest(rows) if self.tries else rows, self.most or rows)
        return [slice(low, high) for low, high in pairwise([*range(0, rows, size), rows])]

    @contextmanager
    def timed(self, rows: int, size: int) -> Iterator[None]:
        """Record the time of a block of `rows` inputs, at `size` inputs per forward pass."""
        start = time.perf_counter()
        yield
        if self.tries:
            self.seconds.setdefault(size, []).append((time.perf_counter() - start) / rows)
            if self._next(rows) is None:
                self.most, self.tries = self._fastest(rows), False

    def halve(self, rows: int) -> bool:
        """Halve the number of inputs per forward pass from now on; return False if it is 1 already.

        Args:
            rows: number of inputs of the forward pass that ran out of memory.
        """
        if rows < 2:
            return False
        self.most, self.tries = rows // 2, False
        return True

    def _next(self, rows: int) -> int | None:
        """Return the number of inputs to try next, from all of a block down to an eighth; None when done.

        Promising numbers are tried twice; so is the first one, because the first forward pass is slow.
        """
        sizes = [rows, *(size for size in (rows // 2, rows // 4, rows // 8) if size >= _LEAST)]
        untried = next((size for size in sizes if size not in self.seconds), None)
        if untried is not None:
            return untried
        promising = 1.3 * min(min(self.seconds[size]) for size in sizes)
        few = (size for size in sizes if len(self.seconds[size]) < _TRIES)
        return next((size for size in few if size == rows or min(self.seconds[size]) < promising), None)

    def _fastest(self, rows: int) -> int:
        """Return the number that was fastest, or all inputs of a block if none is clearly faster."""
        least = {size: min(own) for size, own in self.seconds.items()}
        best = min(least, key=least.__getitem__)
        return best if least[best] < _GAIN * least.get(rows, float("inf")) else rows
