"""Write files atomically, so that they appear complete or not at all; `publishing` does so for folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from invariscope.common.publishing import kind_of, new_folder, open_up, sweep

_LONGEST = 150  # characters of the name of a file in the name of its scratch folder


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield an empty folder on the same disk as `path`, and remove it when the block ends.

    It is created in the nearest existing folder above `path`, so that moving it to `path` is a single rename.
    Folders that killed processes have left there for the same path are removed.
    """
    path = path.absolute()
    parent = next(folder for folder in path.parents if folder.exists())
    prefix = str(parent / f".{path.name[:_LONGEST]}.scratch-")
    sweep(prefix)
    with new_folder(prefix) as scratch:
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file written there becomes `path` if the block ends without an exception.

    Missing folders are created, and a symbolic link is written through. After an exception, including Ctrl-C,
    `path` is unchanged.

    Raises:
        FileExistsError: `path` is something else than a file. Raised before the block runs.
    """
    place = Path(os.path.realpath(path))
    if os.path.lexists(place) and not place.is_file():
        raise FileExistsError(f"{path} is {kind_of(place)}; give the path of a file")
    with scratch_beside(place) as folder:
        yield folder / place.name
        place.parent.mkdir(parents=True, exist_ok=True)
        open_up(folder)
        os.replace(folder / place.name, place)


def write_json(path: Path, document: Any) -> None:
    """Write plain values to a JSON file atomically.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
