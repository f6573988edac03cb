"""Output that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LAST = "result.json"


@contextmanager
def staged_folder(out: Path, *, usual: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yields a scratch folder whose files become those of `out` when the block ends without an exception.

    A new `out` appears in one step. With `overwrite` the files of the same names are replaced one by one;
    files of other names in `out` stay. After an exception, Ctrl-C included, `out` is as it was.

    Args:
        out: the folder.
        usual: what it is if the user names none, which the refusal then says.
        overwrite: whether files may be replaced.

    Raises:
        FileExistsError: `out` holds something, and `overwrite` is not set. Raised before the block runs.
    """
    from invariscope.results.storage import refuse_used_folder

    called = f"{out}, the default of --out," if out == usual else ""
    refuse_used_folder(out, overwrite=overwrite, remedy="--overwrite", called=called)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=_existing_parent(out)))
    try:
        yield scratch
        _open_up(scratch)
        _publish(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def staged_file(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a scratch path whose file becomes `out` when the block ends without an exception.

    Raises:
        FileExistsError: `out` exists, and `overwrite` is not set. Raised before the block runs.
    """
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder; give a file name, such as {out / 'report.html'}")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already. Give another name with --out, or --overwrite.")
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=_existing_parent(out)) as folder:
        yield Path(folder) / out.name
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(Path(folder) / out.name, out)


def _existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that exists: on the same disk, so that renaming is one step."""
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return parent


def _publish(scratch: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if not out.exists() or not any(out.iterdir()):
        os.replace(scratch, out)
        return
    # result.json names the other files, so it goes first and comes last.
    (out / _LAST).unlink(missing_ok=True)
    for path in sorted(scratch.iterdir(), key=lambda path: path.name == _LAST):
        os.replace(path, out / path.name)


def _open_up(scratch: Path) -> None:
    """Temporary folders let nobody else in; what is published has the rights of anything new."""
    mask = os.umask(0o077)
    os.umask(mask)
    scratch.chmod(0o777 & ~mask)
    for path in scratch.iterdir():
        path.chmod(0o666 & ~mask)
