"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `path`, which is removed when the block ends.

    It lies in the nearest folder above `path` that exists, so that moving to `path` takes one step.
    """
    path = path.absolute()
    parent = next(folder for folder in path.parents if folder.exists())
    prefix = f".{path.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as outer:
        scratch = Path(outer) / path.name  # the outer one is closed to others; this one is as open as usual
        scratch.mkdir()
        yield scratch


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; its file becomes `path` if the block ends without an exception.

    Missing folders are made. After an exception, Ctrl-C included, `path` is as it was.
    """
    with scratch_beside(path) as folder:
        yield folder / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _open_up(folder)
        os.replace(folder / path.name, path)


@contextmanager
def filling(folder: Path, *, last: str) -> Iterator[Path]:
    """Yield a scratch folder whose files move into `folder` if the block ends without an exception.

    A new folder appears in one step. In one that exists, files of the same names are replaced one by one,
    and others stay.

    Args:
        last: the file that marks the folder as complete: removed first, moved last.
    """
    with scratch_beside(folder) as scratch:
        yield scratch
        _open_up(scratch)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            os.replace(scratch, folder)
            return
        (folder / last).unlink(missing_ok=True)
        for path in sorted(scratch.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)


def write_json(path: Path, document: Any) -> None:
    """Write plain values as JSON, in one step.

    Raises:
        ValueError: NaN or an infinite number.
    """
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _open_up(folder: Path) -> None:
    """Give files the permissions of any new file: safetensors keeps its own to their owner."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)
