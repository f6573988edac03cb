"""Find saved results in folders, and collect what the index shows about each."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.common.wording import visible
from invariscope.plots.shared import labels as names
from invariscope.results.readable import shown_name
from invariscope.results.rows import layer_keys
from invariscope.results.shard import SHARD_NAME
from invariscope.results.storage import JSON_NAME, MAPS_NAME, load

if TYPE_CHECKING:
    from invariscope.results.result import Result

# Errors of reading files, which anyone may have written.
BAD_FILES = (ValueError, TypeError, OSError)
_ALL = "all"


@dataclass(frozen=True)
class Facts:
    """What the index shows about a result; all texts are short and displayable.

    Args:
        model, data, transform: their names.
        layers: number of layers in the result.
        measure: title of the main measure.
        value: value of the main measure at the last layer; NaN if there is none.
        interval: its 95 % interval.
        created: date and time of the measurement.
    """

    model: str
    data: str
    transform: str
    layers: int
    measure: str
    value: float
    interval: str
    created: str

    @property
    def value_text(self) -> str:
        """Value as text."""
        return names.number(self.value)


@dataclass(frozen=True)
class Run:
    """A folder with a saved result, or with the files of one that cannot be read.

    Args:
        key: identifier of the folder in URLs.
        folder: the folder.
        name: displayed path, starting at the served folder.
        size: total size of its files, in bytes.
        facts: what the index shows; None if the result cannot be read.
        problem: why it cannot be read.
    """

    key: str
    folder: Path
    name: str
    size: int
    facts: Facts | None
    problem: str = ""

    @property
    def megabytes(self) -> str:
        """Size as text."""
        return f"{self.size / 1e6:,.1f} MB"


class Library:
    """All runs in some folders and their subfolders.

    Args:
        folders: the folders, which may contain the files of a run themselves.
    Raises:
        FileNotFoundError: a folder does not exist.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        for folder in folders:
            if not folder.is_dir():
                raise FileNotFoundError(f"no such folder: {folder}; pass folders that contain results")
        self.folders = tuple(folders)
        self._known: dict[str, tuple[tuple[int, ...], Run]] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """Return all runs, newest first; only files that changed since the last call are read again."""
        with self._lock:
            found: dict[str, tuple[tuple[int, ...], Run]] = {}
            for folder, top in self._folders():
                key, state = _key(folder), _state(folder)
                known = self._known.get(key)
                found[key] = known if known and known[0] == state else (state, _run(key, folder, top, state))
            self._known = found
        runs = [run for _, run in found.values()]
        return sorted(runs, key=lambda run: run.facts.created if run.facts else "", reverse=True)

    def find(self, keys: Sequence[str]) -> list[Run]:
        """Return the runs with these keys, in the order given.

        Raises:
            KeyError: a run does not exist, or no longer exists.
        """
        known = {run.key: run for run in self.runs()}
        return [known[key] for key in dict.fromkeys(keys)]

    def _folders(self) -> Iterator[tuple[Path, Path]]:
        """Yield each folder with a result, together with the served folder that contains it."""
        for top in self.folders:
            for place, inside, files in os.walk(top):
                inside[:] = sorted(name for name in inside if not name.startswith("."))  # unfinished
                if JSON_NAME in files or SHARD_NAME in files:
                    yield Path(place), top


def digest(run: Run) -> str:
    """Return a digest of a run's files, computed from result.json, which contains the digest of the maps.

    Raises:
        OSError: the file cannot be read.
    """
    with (run.folder / JSON_NAME).open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    found.update(repr(_state(run.folder)).encode())  # files of earlier versions have no digests
    return found.hexdigest()


def _key(folder: Path) -> str:
    return hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()


def _state(folder: Path) -> tuple[int, ...]:
    """Return sizes, modification times and inodes of a run's files, to detect changes."""
    found: list[int] = []
    for name in (JSON_NAME, MAPS_NAME, SHARD_NAME):
        try:
            status = (folder / name).stat()
            found += [status.st_size, status.st_mtime_ns, status.st_ino]
        except OSError:
            found += [0, 0, 0]
    return tuple(found)


def _run(key: str, folder: Path, top: Path, state: tuple[int, ...]) -> Run:
    inside = folder.relative_to(top)
    name = shown_name(os.fspath(top.name / inside if inside.parts else Path(top.resolve().name)))
    size = sum(state[::3])
    try:
        return Run(key, folder, name, size, _facts(load(folder, maps=False)))
    except BAD_FILES as error:
        return Run(key, folder, name, size, None, visible(str(error)) or type(error).__name__)


def _facts(result: Result) -> Facts:
    about = result.provenance
    rows = [row for row in result.rows if row.stratum == _ALL]
    with_value = [row.measure for row in rows if math.isfinite(row.value)]
    measure = next(iter(names.headline_first(with_value)), "")
    last = next((row for row in reversed(rows) if row.measure == measure), None)
    return Facts(
        model=shown_name(result.name),
        data=_text(about.get("data", {}).get("name")),
        transform=_text(about.get("transform", {}).get("family")).replace("_", " "),
        layers=len(layer_keys(rows)),
        measure=shown_name(names.measure_title(measure)),
        value=last.value if last else math.nan,
        interval=names.interval(last.ci_low, last.ci_high) if last else "–",
        created=_date(about.get("created")),
    )


def _text(value: Any) -> str:
    return shown_name(str(value or "–"))


def _date(value: Any) -> str:
    """Return date and time as text that sorts chronologically; a dash if they are unknown.

    >>> _date("2026-01-02T03:04:05+00:00"), _date(None)
    ('2026-01-02 03:04', '–')
    """
    try:
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M}"
    except ValueError:
        return "–"
