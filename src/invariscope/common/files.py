"""Write files and folders atomically, so that they appear complete or not at all."""

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
    """Yield an empty folder on the same disk as `path`, and remove it when the block ends.

    It is created in the nearest existing folder above `path`, so that moving it to `path` is a single rename.
    """
    path = path.absolute()
    parent = next(folder for folder in path.parents if folder.exists())
    prefix = f".{path.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as outer:
        scratch = Path(outer) / path.name  # unlike the outer folder, this one has the usual permissions
        scratch.mkdir()
        yield scratch


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there becomes `path` if the block ends without an exception.

    Missing folders are created. After an exception, including Ctrl-C, `path` is unchanged.
    """
    with scratch_beside(path) as folder:
        yield folder / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _open_up(folder)
        os.replace(folder / path.name, path)


@contextmanager
def filling(folder: Path, *, last: str) -> Iterator[Path]:
    """Yield a scratch folder whose files move into `folder` if the block ends without an exception.

    A new folder appears in one step. In an existing folder, files with the same names are replaced one by
    one, and other files stay. After an exception, including Ctrl-C, `folder` is unchanged.

    Args:
        last: the file that marks the folder as complete; it is removed first and moved last.
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
    """Write plain values to a JSON file atomically.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _open_up(folder: Path) -> None:
    """Give files the usual permissions; safetensors writes files that only their owner can read."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)
