"""Batches of a loader, with one clear line if a process that loads them dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

_DEATHS = ("exited unexpectedly", "killed by signal")


class WorkerDiedError(OSError):
    """Raised if a worker process of a DataLoader ends while it loads samples."""


def delivered(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches; an error that the data set itself raises is passed on unchanged.

    Raises:
        WorkerDiedError: a worker process ended.
    """
    walk = iter(batches)
    while True:
        try:
            batch = next(walk)
        except StopIteration:
            return
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not _is_death(error, batches):
                raise
            _end(walk)
            raise WorkerDiedError(
                "a worker process of the DataLoader died while it loaded samples. If memory was short, give "
                "the loader fewer workers or smaller batches; with num_workers=0, the data set itself shows "
                "its error"
            ) from error
        yield batch


def _end(walk: Any) -> None:
    """End all workers, so that torch forgets them.

    Until then, torch raises an error of its own, wherever the program is, once the operating system reports
    the death.
    """
    for _ in range(2):  # the report may interrupt the first attempt
        with contextlib.suppress(RuntimeError):
            getattr(walk, "_shutdown_workers", lambda: None)()


def _is_death(error: Exception, batches: Any) -> bool:
    if not getattr(batches, "num_workers", 0):
        return False
    if not isinstance(error, RuntimeError):
        return True
    return "DataLoader worker" in str(error) and any(death in str(error) for death in _DEATHS)
