"""The stored numbers of the atlas, one file per entry, and digests of what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "results" / "atlas"
ROWS = Path(__file__).parent / "rows"
DIGITS = 12
SHOWN_DIGITS = 8


def entries() -> list[str]:
    """Return the names of all entries."""
    return sorted(path.stem for path in ROWS.glob("[!_]*.py"))


def path_of(name: str) -> Path:
    """Return the file with the numbers of an entry."""
    return FOLDER / f"{name}.json"


def read_all(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return all stored entries by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[!_]*.json"))
    }


def write(name: str, record: dict[str, Any]) -> None:
    """Store the numbers of an entry."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    path_of(name).write_text(text + "\n", encoding="utf-8")


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return the digest of the contents of files, whatever their folder."""
    found = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        found.update(path.read_bytes())
    return found.hexdigest()[:DIGITS]


def digest_of_row(weights: str, data: str, case: dict[str, Any]) -> str:
    """Return the digest of a row: the same weights, data, transform and measure give the same one."""
    parts = [weights, data, case["transform"], case["label"], case["layer"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:SHOWN_DIGITS]
