"""Batches of a loader, with one clear line if a process that loads them dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

_DEATHS = ("exited unexpectedly", "killed by signal")


class WorkerDiedError(OSError):
    """Raised if a worker process of a DataLoader ends while it loads samples."""


def delivered(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches; an error that the data set itself raises is passed on, except for IndexError.

    Raises:
        ValueError: the data set raises IndexError, which often has no message.
        WorkerDiedError: a worker process ended.
    """
    walk, number = iter(batches), 0
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
        except IndexError as error:
            raise ValueError(
                f"batch {number} of the data cannot be read: IndexError{_first_line(error)}. "
                "Let the data set's `__len__` return the number of samples that it has, or fix its "
                "`__getitem__`"
            ) from error
        yield batch
        number += 1


def _first_line(error: Exception) -> str:
    """Return the first line of a message, which may go on with the traceback of a worker."""
    return f": {str(error).splitlines()[0]}" if str(error) else ""


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
