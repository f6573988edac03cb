"""Histories on disk: a folder with monitor.json and a saved result per measured epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from invariscope.common.publishing import filling, settle
from invariscope.common.sealing import read_sealed_json, stated_digest, write_sealed_json
from invariscope.common.wording import listed
from invariscope.monitor.history import TIME_COLUMNS, History
from invariscope.results import storage
from invariscope.results.result import Result
from invariscope.results.storage import encoded

SCHEMA = 2
JSON_NAME = "monitor.json"


class SavedResults(Mapping[int, Result]):
    """Mapping from epochs to the results saved in a folder, loaded on access."""

    def __init__(
        self, folder: Path, epochs: tuple[int, ...], digests: Mapping[str, str] | None = None
    ) -> None:
        self._folder, self._epochs, self._digests = folder, epochs, digests or {}

    def __repr__(self) -> str:
        """Return one line with the folder and the epochs."""
        return f"<SavedResults in {self._folder}: epochs {listed(self._epochs, limit=6)}>"

    def __getitem__(self, epoch: int) -> Result:
        if epoch not in self._epochs:
            raise KeyError(f"epoch {epoch!r} was not measured; measured epochs: {list(self._epochs)}")
        folder = result_folder(self._folder, epoch)
        result = storage.load(folder)
        if self._digests.get(str(epoch)) not in (None, stated_digest(folder / storage.JSON_NAME)):
            raise ValueError(
                f"{folder} does not match {JSON_NAME}, which records another SHA-256 for epoch {epoch}. Were "
                "results of two epochs or monitors mixed?"
            )
        return result

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)


def result_folder(folder: Path, epoch: int) -> Path:
    """Return the folder of an epoch's result."""
    return folder / f"epoch-{epoch:05d}"


def save_result(folder: Path, epoch: int, result: Result) -> None:
    """Write one epoch's result, which becomes part of the history with the next `save_index`."""
    storage.save(result, result_folder(folder, epoch), overwrite=True)


def save_index(folder: Path, history: History) -> None:
    """Write settings, times and measured epochs to monitor.json, atomically."""
    document = {
        "schema": SCHEMA,
        "settings": dict(history.settings),
        "times": encoded(history.time_rows),
        "epochs": list(history.results),
        "digests": {str(epoch): _digest(folder, epoch) for epoch in history.results},
    }
    write_sealed_json(folder / JSON_NAME, document)


def _digest(folder: Path, epoch: int) -> str:
    return stated_digest(result_folder(folder, epoch) / storage.JSON_NAME)


def save_history(history: History, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a history to a folder and return the folder.

    Raises:
        FileExistsError: the folder is not empty, and `overwrite` is not set.
    """
    folder = Path(folder)
    check = partial(storage.refuse_used_folder, folder, overwrite=overwrite)
    with filling(folder, last=JSON_NAME, check=check) as scratch:
        for epoch, result in history.results.items():
            save_result(scratch, epoch, result)
        save_index(scratch, history)
    return folder


def load_history(folder: str | Path) -> History:
    """Load a history from a folder that a monitor wrote. Safe for untrusted files: nothing is executed.

    Raises:
        FileNotFoundError: monitor.json or a result is missing.
        ValueError: the files are truncated, malformed or of a newer version.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == JSON_NAME else folder
    settle(folder)
    document = read_index(folder / JSON_NAME)
    results = SavedResults(folder, tuple(document["epochs"]), document.get("digests", {}))
    rows = tuple({"epoch": epoch, **row} for epoch, result in results.items() for row in result.rows)
    times = tuple({k: math.nan if v is None else v for k, v in row.items()} for row in document["times"])
    return History(rows, times, results, document["settings"])


def read_index(path: Path) -> dict[str, Any]:
    """Return the entries of monitor.json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, malformed or of a newer version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {JSON_NAME} in {path.parent}; pass the folder that a Monitor wrote")
    document = read_sealed_json(path, newest=SCHEMA, what="the index of a monitor").document
    if not _well_formed(document):
        raise ValueError(f"{path} is malformed: it needs settings, times with {TIME_COLUMNS}, and epochs")
    return document


def _well_formed(document: dict[str, Any]) -> bool:
    times, epochs = document.get("times"), document.get("epochs")
    return (
        isinstance(document.get("settings"), dict)
        and isinstance(times, list)
        and all(isinstance(row, dict) and set(row) == set(TIME_COLUMNS) for row in times)
        and all(isinstance(row[name], float | int | None) for row in times for name in TIME_COLUMNS)
        and isinstance(document.get("digests", {}), dict)
        and isinstance(epochs, list)
        and all(isinstance(epoch, int) and epoch >= 0 for epoch in epochs)
    )
