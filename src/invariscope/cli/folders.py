"""Output files and folders that appear complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invariscope.common.files import filling, replacing


@contextmanager
def staged_folder(
    out: Path, *, usual: Path, overwrite: bool = False, last: str = "result.json"
) -> Iterator[Path]:
    """Yield a scratch folder whose files move to `out` if the block ends without an exception.

    Args:
        out: the destination, filled as described in `common.files.filling`.
        usual: the default of `--out`; if `out` is the default, the error says so.
        overwrite: whether files may be replaced.
        last: the file that marks the folder as complete.

    Raises:
        FileExistsError: `out` is not empty, and `overwrite` is not set. Raised before the block runs.
    """
    from invariscope.results.storage import refuse_used_folder

    called = f"{out}, the default of --out," if out == usual else ""
    refuse_used_folder(out, overwrite=overwrite, remedy="--overwrite", called=called)
    with filling(out, last=last) as scratch:
        yield scratch


@contextmanager
def staged_file(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a scratch path whose file becomes `out` if the block ends without an exception.

    Raises:
        FileExistsError: `out` exists, and `overwrite` is not set. Raised before the block runs.
    """
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder; give a file name, such as {out / 'report.html'}")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} already exists. Give another name with --out, or add --overwrite.")
    with replacing(out) as scratch:
        yield scratch
