"""Seeded changes of the files of one kind, each read in a process of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutations.changes import changed
from benchmarks.mutations.kinds import Kind
from benchmarks.mutations.sandbox import OTHER, SAME, read

_EVERY = 10  # change number 10, 20 and so on is a file of the other variant


@dataclass(frozen=True)
class Trial:
    """One change, and what reading gave.

    Args:
        change: name of the change.
        file: the changed file.
        outcome, text, seconds: see `sandbox.Reading`.
    """

    change: str
    file: str
    outcome: str
    text: str
    seconds: float


def tried(kind: Kind, scratch: Path, *, changes: int, seed: int) -> list[Trial]:
    """Change one file at a time, and read all.

    Raises:
        RuntimeError: the unchanged files cannot be read.
    """
    for variant in range(2):
        (scratch / f"{variant}").mkdir()
        kind.write(scratch / f"{variant}", variant)
    original = _read(kind, scratch / "0", scratch / "copy")
    if original.outcome != SAME:
        raise RuntimeError(f"the unchanged file: {original.outcome}, {original.text}")
    files = sorted(path.relative_to(scratch / "0") for path in (scratch / "0").rglob("*") if path.is_file())
    found = []
    for number in range(changes):
        file = files[number % len(files)]
        whole = (scratch / "0" / file).read_bytes()
        swap = kind.mixed and number % _EVERY == _EVERY - 1
        name, content = (
            ("swapped", (scratch / "1" / file).read_bytes()) if swap else changed(whole, number, seed)
        )
        shutil.copytree(scratch / "0", scratch / "changed")
        (scratch / "changed" / file).write_bytes(content)
        reading = _read(kind, scratch / "changed", scratch / "copy")
        shutil.rmtree(scratch / "changed")
        other = reading.outcome == SAME and reading.text != original.text
        outcome = OTHER if other else reading.outcome
        found.append(Trial(name, str(file), outcome, reading.text, reading.seconds))
    return found


def _read(kind: Kind, folder: Path, copy: Path):
    """Read a copy, because resuming removes checkpoints."""
    shutil.copytree(folder, copy)
    try:
        return read(lambda: kind.read(copy))
    finally:
        shutil.rmtree(copy)
