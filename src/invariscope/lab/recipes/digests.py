"""What the keys of cells know of the data: the digests of the data sets' files."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invariscope.common.files import write_json

NOTE = "NOTE.txt"


class Digests:
    """SHA-256 of the data sets' files as they are when unpacked.

    They are remembered as long as size and time of the files stay.

    Args:
        memory: the file that remembers them.
        data_dir: folder of the data sets' files; None: where they are by default.
        known: "NAME/SPLIT" to digests and note, as an archive has them, where the files are not there.
    """

    def __init__(
        self, memory: Path, data_dir: Path | None, known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._memory, self._data_dir, self._archived = memory, data_dir, known or {}
        try:
            self._known: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def __call__(self, name: str, split: str) -> list[str]:
        """The digests of one split's files.

        Raises:
            FileNotFoundError: they are not there, and no archive knows them.
        """
        return self.entry(name, split)["digests"]

    def entry(self, name: str, split: str) -> dict[str, Any]:
        """Digests and note of one split, as an archive keeps them.

        Raises:
            FileNotFoundError: as above.
        """
        from invariscope.zoo import datasets

        archived = self._archived.get(f"{name}/{split}")
        if archived is not None and not datasets.present(name, split=split, data_dir=self._data_dir):
            return dict(archived)
        paths = datasets.files(name, split=split, data_dir=self._data_dir)
        return {"digests": [self._digest(path) for path in paths], "note": _note_beside(paths)}

    def _digest(self, path: Path) -> str:
        found = path.stat()
        mark = f"{path.absolute()} {found.st_size} {found.st_mtime_ns}"
        if mark not in self._known:
            self._known[mark] = _content_digest(path)
            if self._memory.parent.exists():  # looking for cells makes no folder
                write_json(self._memory, self._known)
        return self._known[mark]


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content_digest(path: Path) -> str:
    """SHA-256 of a file's content, unpacked: the same data packed or not make the same cells."""
    if path.suffix != ".gz":
        return file_digest(path)
    with gzip.open(path) as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _note_beside(paths: list[Path]) -> str:
    """The text of NOTE.txt in the folders of the files."""
    notes = [folder / NOTE for folder in dict.fromkeys(path.parent for path in paths)]
    return " ".join(" ".join(note.read_text(encoding="utf-8").split()) for note in notes if note.is_file())
