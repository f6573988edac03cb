"""Finished cells on disk: keyed by what they depend on, verified, and written atomically."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from invariscope.common.locks import InUseError, locked
from invariscope.common.publishing import reason_of
from invariscope.common.reading import read_json
from invariscope.common.versions import versions
from invariscope.lab.recipes.archive import MANIFEST, Archive, appear, lacks_weights
from invariscope.lab.recipes.cells import Cell, RecipePlan
from invariscope.lab.recipes.digests import Digests, file_digest
from invariscope.lab.recipes.kinds import Kind
from invariscope.lab.recipes.machine import machine
from invariscope.lab.recipes.text import default_of

SCHEMA = 1
DIGESTS, LOG = "data.json", "log.txt"
_KEPT, _LOCK, _UNPUBLISHED = "kept", "lock", "unpublished"


class BusyError(RuntimeError):
    """Raised if another process is running the cell."""


class MadeMeanwhileError(RuntimeError):
    """Raised if another process has finished the cell in the meantime."""


@dataclass(frozen=True)
class Store:
    """The cells of one output folder.

    A finished cell is stored in `cells/NAME-KEY`. The key is a hash of the cell's options, of the data it
    reads and of the keys of the cells it needs, so changing any of them gives a different folder.

    Args:
        root: the output folder.
        plan: the cells.
        data_dir: folder of the data sets; None: the default one.
        archive: provides finished cells that the output folder lacks, and the digests of data sets whose
            files are missing; or None.
    """

    root: Path
    plan: RecipePlan
    data_dir: Path | None = None
    archive: Archive | None = None

    @cached_property
    def _digests(self) -> Digests:
        known = {} if self.archive is None else self.archive.data()
        return Digests(self.root / DIGESTS, self.data_dir, known)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {}

    def key(self, cell: Cell) -> str:
        """Return the hash of everything that the cell depends on.

        Raises:
            FileNotFoundError: a data set is missing, and the archive has no digests of it.
        """
        if cell.name not in self._keys:
            depends = {
                "schema": SCHEMA,
                "kind": cell.kind,
                "revision": cell.options.revision,
                "options": telling(cell.options),
                "data": {name: entry["digests"] for name, entry in self.data_known(cell).items()},
                "needs": [self.key(self.plan[need]) for need in cell.needs],
            }
            text = json.dumps(depends, sort_keys=True)
            self._keys[cell.name] = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self._keys[cell.name]

    def folder(self, cell: Cell) -> Path:
        """Return the folder of the finished cell: its own, or one with the same key under another name."""
        own = self._named(cell)
        return own if own.exists() else next(own.parent.glob(f"[!.]*-{self.key(cell)}"), own)

    def scratch(self, cell: Cell) -> Path:
        """Return the folder of the unfinished cell, with its log."""
        own = self._named(cell)
        return own.with_name(f".{own.name}")

    def _named(self, cell: Cell) -> Path:
        return self.root / "cells" / f"{cell.name.replace('/', '_')}-{self.key(cell)}"

    def manifest(self, cell: Cell) -> dict[str, Any] | None:
        """Return the manifest of a finished cell; None if it is unfinished.

        Raises:
            ValueError: the cell is damaged.
        """
        folder = self.folder(cell)
        if not folder.exists() and not (self.archive and self.archive.get(self.key(cell), folder)):
            return None
        try:
            manifest = read_json(folder / MANIFEST)
            files = dict(manifest["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / MANIFEST} is missing or damaged") from error
        for name, digest in files.items():
            if not (folder / name).is_file():
                raise ValueError(f"{folder / name} is missing")
            if file_digest(folder / name) != digest:
                raise ValueError(f"{folder / name} differs from its checksum")
        return manifest

    def archived(self, cell: Cell) -> bool:
        """Return whether the cell is only in the archive, from which it is copied on first use."""
        there = self.archive is not None and self.archive.manifest(self.key(cell)) is not None
        return there and not self.folder(cell).exists()

    def _lacks_weights(self, cell: Cell) -> bool:
        """Return whether the cell is a network copied from the archive without its weights."""
        with contextlib.suppress(ValueError):
            return self.folder(cell).exists() and lacks_weights(self.manifest(cell) or {})
        return False

    def remove(self, cell: Cell) -> None:
        """Delete a finished or damaged cell."""
        shutil.rmtree(self.folder(cell))

    def data_known(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """Return the digests and the note of each "NAME/SPLIT" that the cell reads."""
        return {"/".join(pair): self._digests.entry(*pair) for pair in cell.options.data_sets}

    @contextlib.contextmanager
    def making(
        self, cell: Cell, threads: int, *, device: str = "cpu", patience_s: float = 0.0
    ) -> Iterator[tuple[Path, Path]]:
        """Yield a folder for the files of the cell, and one that survives an interruption.

        Leaving the block without an exception creates the cell atomically.

        Args:
            cell: the cell to run.
            threads, device: number of threads and device, for its manifest.
            patience_s: seconds to wait for another process that runs the same cell.
        Raises:
            BusyError: another process is still running the cell.
            MadeMeanwhileError: another process has finished the cell.
        """
        scratch, started = self.scratch(cell), time.perf_counter()
        (scratch / _KEPT).mkdir(parents=True, exist_ok=True)
        with _locked(scratch / _LOCK, cell.name, patience_s):
            if self.folder(cell).exists() and not self._lacks_weights(cell):
                raise MadeMeanwhileError(f"{cell.name} is finished")
            part = scratch / "part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                yield part, scratch / _KEPT
                with _kept_on_failure(part, cell.name):
                    self._finish(cell, part, time.perf_counter() - started, threads, device)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            # Still within the lock, so that a waiting process then finds the finished cell.
            shutil.rmtree(scratch, ignore_errors=True)

    def _finish(self, cell: Cell, part: Path, seconds: float, threads: int, device: str) -> None:
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
            "device": device,
            "machine": machine(device),
            "versions": versions("torch", "numpy"),
            "files": {path.relative_to(part).as_posix(): file_digest(path) for path in files},
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if self._lacks_weights(cell):
            self.remove(cell)
        appear(part, self.folder(cell))


@contextlib.contextmanager
def _kept_on_failure(part: Path, name: str) -> Iterator[None]:
    """Keep the files of a cell if they cannot be moved to its folder, until a later run finishes the cell."""
    try:
        yield
    except OSError as error:
        kept = part.with_name(_UNPUBLISHED)
        shutil.rmtree(kept, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.replace(part, kept)
        where = kept if kept.exists() else part
        raise OSError(
            f"{name} cannot be finished ({reason_of(error)}); its files are kept in {where}"
        ) from error


def telling(options: Kind) -> Mapping[str, Any]:
    """Return the options that differ from their defaults, except the label, which affects no number.

    A new option whose default keeps the old behaviour therefore leaves the keys of finished cells unchanged.
    """
    usual = {f.name: default_of(f) for f in fields(options)}  # type: ignore[arg-type]
    given = asdict(options)  # type: ignore[call-overload]
    return {name: value for name, value in given.items() if name != "label" and value != usual[name]}


@contextlib.contextmanager
def _locked(path: Path, name: str, patience_s: float) -> Iterator[None]:
    """Hold an exclusive lock on a cell.

    Where there are no locks, as on Windows, two processes may run a cell, and the first to finish counts.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, name, patience_s=patience_s))
        except InUseError as error:
            raise BusyError(str(error)) from error
        yield
