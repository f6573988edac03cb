"""Finished cells on disk: found again by what they depend on, checked, written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import invariscope
from invariscope.recipes.cells import Cell, Plan
from invariscope.recipes.kinds import Kind

SCHEMA = 1
MANIFEST, DIGESTS, LOG = "cell.json", "data.json", "log.txt"
_KEPT, _LOCK = "kept", "lock"


class BusyError(RuntimeError):
    """Another process is running this very cell."""


@dataclass(frozen=True)
class Store:
    """The cells of one output folder.

    A finished cell lies in `cells/NAME-KEY`, where the key is a hash of the cell's options, of the data it
    reads and of the keys of the cells it needs: whatever changes any of them changes the folder.

    Args:
        root: the output folder.
        plan: its cells.
        data_dir: folder of the data sets' files; None: where they are by default.
    """

    root: Path
    plan: Plan
    data_dir: Path | None = None

    @cached_property
    def _digests(self) -> Digests:
        return Digests(self.root / DIGESTS, self.data_dir)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {}

    def key(self, cell: Cell) -> str:
        """The hash of everything that the cell depends on.

        Raises:
            FileNotFoundError: the data is not there.
        """
        if cell.name not in self._keys:
            depends = {
                "schema": SCHEMA,
                "kind": cell.kind,
                "revision": cell.options.revision,
                "options": _telling(cell.options),
                "data": {"/".join(pair): self._digests(*pair) for pair in cell.options.data_sets},
                "needs": [self.key(self.plan[need]) for need in cell.needs],
            }
            text = json.dumps(depends, sort_keys=True)
            self._keys[cell.name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._keys[cell.name]

    def folder(self, cell: Cell) -> Path:
        """Where the finished cell lies, or would."""
        return self.root / "cells" / f"{cell.name.replace('/', '_')}-{self.key(cell)}"

    def scratch(self, cell: Cell) -> Path:
        """Where it lies while it is unfinished, with its log."""
        return self.folder(cell).with_name(f".{self.folder(cell).name}")

    def manifest(self, cell: Cell) -> dict[str, Any] | None:
        """What is known of a finished cell; None if it is not finished.

        Raises:
            ValueError: it is damaged; the message says how.
        """
        folder = self.folder(cell)
        if not folder.exists():
            return None
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / MANIFEST} is missing or damaged") from error
        for name, digest in files.items():
            if not (folder / name).is_file():
                raise ValueError(f"{folder / name} is missing")
            if _file_digest(folder / name) != digest:
                raise ValueError(f"{folder / name} differs from its checksum")
        return manifest

    def remove(self, cell: Cell) -> None:
        """Takes a damaged cell away."""
        shutil.rmtree(self.folder(cell))

    @contextlib.contextmanager
    def making(self, cell: Cell, threads: int) -> Iterator[tuple[Path, Path]]:
        """Yields (folder for what is to be the cell, folder that outlives an interruption).

        Leaving the block without an exception makes the cell appear in one step.

        Raises:
            BusyError: another process is in such a block for the same cell.
        """
        scratch, started = self.scratch(cell), time.perf_counter()
        (scratch / _KEPT).mkdir(parents=True, exist_ok=True)
        with _locked(scratch / _LOCK, cell.name):
            part = scratch / "part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part, scratch / _KEPT
                self._finish(cell, part, time.perf_counter() - started, threads)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)

    def _finish(self, cell: Cell, part: Path, seconds: float, threads: int) -> None:
        log = part.parent / LOG
        if log.exists():
            shutil.copyfile(log, part / LOG)
        files = sorted(path for path in part.rglob("*") if path.is_file() and path.name != LOG)
        manifest = {
            "schema": SCHEMA,
            "name": cell.name,
            "kind": cell.kind,
            "key": self.key(cell),
            "options": asdict(cell.options),  # type: ignore[call-overload]
            "needs": {need: self.key(self.plan[need]) for need in cell.needs},
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "threads": threads,
            "versions": _versions(),
            "files": {path.relative_to(part).as_posix(): _file_digest(path) for path in files},
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        try:
            os.rename(part, self.folder(cell))
        except OSError:
            if not self.folder(cell).exists():  # else another process was faster
                raise


class Digests:
    """Hashes of the data sets' files, remembered as long as size and time of the files stay."""

    def __init__(self, memory: Path, data_dir: Path | None) -> None:
        self._memory, self._data_dir = memory, data_dir
        try:
            self._known: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def __call__(self, name: str, split: str) -> list[str]:
        """The digests of one split's files."""
        from invariscope.zoo.datasets import files

        return [self._digest(path) for path in files(name, split=split, data_dir=self._data_dir)]

    def _digest(self, path: Path) -> str:
        found = path.stat()
        mark = f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"
        if mark not in self._known:
            self._known[mark] = _file_digest(path)
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            part = self._memory.with_name(f".{self._memory.name}-{os.getpid()}")
            part.write_text(json.dumps(self._known, indent=1) + "\n", encoding="utf-8")
            os.replace(part, self._memory)
        return self._known[mark]


def _telling(options: Kind) -> Mapping[str, Any]:
    """The options that are not as usual, but for the name shown in figures, which changes no number.

    So a kind can get a new option, as usual what it always did, and its finished cells stay finished.
    """
    usual = {f.name: _default(f) for f in fields(options)}  # type: ignore[arg-type]
    given = asdict(options)  # type: ignore[call-overload]
    return {name: value for name, value in given.items() if name != "label" and value != usual[name]}


def _default(option: Field[Any]) -> Any:
    """The option's default; MISSING, which no value equals, where it has none."""
    return option.default if option.default_factory is MISSING else option.default_factory()


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    import numpy
    import torch

    return {
        "invariscope": invariscope.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }


@contextlib.contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Held by one process at a time; the system lets go of it when that process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes would do the same work, and the first one's counts
        yield
        return
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{name} is being run by another process") from error
        yield
