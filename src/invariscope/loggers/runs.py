"""The common base of writers to runs of experiment trackers."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from invariscope.loggers.scalars import heat_maps, saved, scalars
from invariscope.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunWriter(ABC):
    """Writer to a run that whoever started it ends, so leaving the context ends nothing.

    Args:
        columns, curves, images, artifacts: see the writers.
    """

    def __init__(self, *, columns: Sequence[str], curves: bool, images: bool, artifacts: bool) -> None:
        self._columns, self._curves = tuple(columns), curves
        self._images, self._artifacts = images, artifacts

    @abstractmethod
    def __call__(self, step: int, result: Result) -> None:
        """Log one result."""

    def numbers(self, result: Result) -> dict[str, float]:
        """Return the numbers to log by name."""
        return dict(scalars(result, columns=self._columns, curves=self._curves))

    def heat_maps(self, result: Result) -> Iterator[tuple[str, Figure]]:
        """Yield the heat maps to log by name."""
        yield from heat_maps(result) if self._images else ()

    @contextmanager
    def files(self, result: Result) -> Iterator[str]:
        """Provide a temporary folder with the result's files."""
        with tempfile.TemporaryDirectory() as scratch:
            yield str(saved(result, scratch))

    def close(self) -> None:  # noqa: B027
        """Do nothing; whoever started the run ends it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
