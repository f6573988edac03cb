"""Digests of the files of data sets, on which the keys of cells depend."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invariscope.common.files import write_json
from invariscope.common.reading import read_json
from invariscope.zoo.published import note_unless_original, unpacked_digest

NOTE = "NOTE.txt"


class Digests:
    """SHA-256 of the unpacked files of data sets, cached until a file's size or modification time changes.

    Args:
        memory: the cache file.
        data_dir: folder of the data sets; None: the default one.
        known: digests and note by "NAME/SPLIT", from an archive, for data sets whose files are missing.
    """

    def __init__(
        self, memory: Path, data_dir: Path | None, known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._memory, self._data_dir, self._archived = memory, data_dir, known or {}
        try:
            found = read_json(memory)
        except (OSError, ValueError):
            found = {}
        self._known: dict[str, str] = found if isinstance(found, dict) else {}

    def entry(self, name: str, split: str) -> dict[str, Any]:
        """Return the "digests" and the "note" of one split.

        Raises:
            FileNotFoundError: the files are missing, and the archive has no digests of them.
        """
        from invariscope.zoo import datasets

        archived = self._archived.get(f"{name}/{split}")
        if archived is not None and not datasets.present(name, split=split, data_dir=self._data_dir):
            return dict(archived)
        paths = datasets.files(name, split=split, data_dir=self._data_dir)
        digests = [self._digest(path) for path in paths]
        if archived is not None and archived["note"] and archived["digests"] == digests:
            return dict(archived)  # so that a page is the same with and without the data
        return {"digests": digests, "note": _note_beside(paths) or note_unless_original(name, paths)}

    def _digest(self, path: Path) -> str:
        found = path.stat()
        mark = f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"
        if mark not in self._known:
            self._known[mark] = _content_digest(path)
            if self._memory.parent.exists():  # looking for cells must not create the folder
                write_json(self._memory, self._known)
        return self._known[mark]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content_digest(path: Path) -> str:
    """Return the SHA-256 of the unpacked content, so that compressing the data does not change keys."""
    return unpacked_digest(path, "sha256")


def _note_beside(paths: list[Path]) -> str:
    """Return the contents of NOTE.txt in the folders of the files."""
    notes = [folder / NOTE for folder in dict.fromkeys(path.parent for path in paths)]
    return " ".join(" ".join(note.read_text(encoding="utf-8").split()) for note in notes if note.is_file())
