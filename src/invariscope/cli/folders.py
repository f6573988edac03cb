"""Output that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invariscope.common.files import filling, replacing


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
    from invariscope.results.storage import JSON_NAME, refuse_used_folder

    called = f"{out}, the default of --out," if out == usual else ""
    refuse_used_folder(out, overwrite=overwrite, remedy="--overwrite", called=called)
    with filling(out, last=JSON_NAME) as scratch:
        yield scratch


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
    with replacing(out) as scratch:
        yield scratch
