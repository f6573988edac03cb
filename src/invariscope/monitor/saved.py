"""A history on disk: a folder with monitor.json and a saved result for every measured epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from invariscope.common.files import write_json
from invariscope.monitor.history import TIME_COLUMNS, History
from invariscope.results import storage
from invariscope.results.result import Result

SCHEMA = 1
JSON_NAME = "monitor.json"


class SavedResults(Mapping[int, Result]):
    """The results in a folder by epoch, each read when it is asked for."""

    def __init__(self, folder: Path, epochs: tuple[int, ...]) -> None:
        self._folder, self._epochs = folder, epochs

    def __getitem__(self, epoch: int) -> Result:
        if epoch not in self._epochs:
            raise KeyError(f"epoch {epoch!r} was not measured; there are {list(self._epochs)}")
        return storage.load(result_folder(self._folder, epoch))

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)


def result_folder(folder: Path, epoch: int) -> Path:
    """Where the result of an epoch lies."""
    return folder / f"epoch-{epoch:05d}"


def save_result(folder: Path, epoch: int, result: Result) -> None:
    """Writes one epoch's result; it counts once `save_index` has named it."""
    storage.save(result, result_folder(folder, epoch), overwrite=True)


def save_index(folder: Path, history: History) -> None:
    """Writes monitor.json, whole or not at all: settings, times, and which epochs were measured."""
    document = {
        "schema": SCHEMA,
        "settings": dict(history.settings),
        "times": [_encoded(row) for row in history.time_rows],
        "epochs": list(history.results),
    }
    write_json(folder / JSON_NAME, document)


def save_history(history: History, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a whole history into a folder and returns the folder.

    Raises:
        FileExistsError: the folder holds something and `overwrite` is not set.
    """
    folder = Path(folder)
    storage.refuse_used_folder(folder, overwrite=overwrite)
    for epoch, result in history.results.items():
        save_result(folder, epoch, result)
    save_index(folder, history)
    return folder


def load_history(folder: str | Path) -> History:
    """Reads a folder that a monitor has written. Safe on files from strangers: nothing is executed.

    Raises:
        FileNotFoundError: no monitor.json there, or a result is missing.
        ValueError: the files are truncated, malformed or of a newer version.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == JSON_NAME else folder
    document = _read_index(folder / JSON_NAME)
    results = SavedResults(folder, tuple(document["epochs"]))
    rows = tuple({"epoch": epoch, **row} for epoch, result in results.items() for row in result.rows)
    times = tuple(_decoded(row) for row in document["times"])
    return History(rows, times, results, document["settings"])


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {JSON_NAME} in {path.parent}; give the folder that a Monitor wrote")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a whole JSON file ({error}); was it truncated?") from error
    if not isinstance(document, dict) or not isinstance(document.get("schema"), int):
        raise ValueError(f"{path} is no index of a monitor: it has no schema number")
    if document["schema"] > SCHEMA:
        raise ValueError(
            f"{path} has schema {document['schema']}, this version reads up to {SCHEMA}: update invariscope"
        )
    if not _well_formed(document):
        raise ValueError(f"{path} is malformed: it needs settings, times of {TIME_COLUMNS}, and epochs")
    return document


def _well_formed(document: dict[str, Any]) -> bool:
    times, epochs = document.get("times"), document.get("epochs")
    return (
        isinstance(document.get("settings"), dict)
        and isinstance(times, list)
        and all(isinstance(row, dict) and set(row) == set(TIME_COLUMNS) for row in times)
        and all(isinstance(row[name], float | int | None) for row in times for name in TIME_COLUMNS)
        and isinstance(epochs, list)
        and all(isinstance(epoch, int) and epoch >= 0 for epoch in epochs)
    )


def _encoded(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _decoded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}
