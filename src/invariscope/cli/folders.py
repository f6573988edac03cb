"""Output files and folders that appear complete or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from invariscope.common.files import replacing
from invariscope.common.publishing import filling, kind_of, written

if TYPE_CHECKING:
    from invariscope.results.result import Result

REPORT = "report.html"
_HEAD = 256  # bytes
SHARD_FILES = ("shard.json", "sums.safetensors")
RESULT_FILES = ("result.json", "maps.safetensors", REPORT)


@contextmanager
def staged_folder(
    out: Path,
    *,
    usual: Path | None = None,
    overwrite: bool = False,
    last: str = "result.json",
    removes: Sequence[str] = (),
) -> Iterator[Path]:
    """Yield a scratch folder whose files move to `out` if the block ends without an exception.

    Args:
        out: the destination, filled as described in `common.publishing.filling`.
        usual: the default of `--out`; errors say so if `out` is the default.
        overwrite: whether existing files may be replaced.
        last: the file that marks the folder as complete.
        removes: files and subfolders of an earlier run to remove when the new files appear.

    Raises:
        FileExistsError: `out` is not empty, and `overwrite` is not set.
        InUseError: another process is writing to `out`.
        OSError: `out` cannot be written to. All these errors are raised before the block runs.
    """
    from invariscope.results.storage import refuse_used_folder

    called = f"{out}, the default of --out," if out == usual else ""
    check = partial(refuse_used_folder, out, overwrite=overwrite, remedy="--overwrite", called=called)
    with filling(out, last=last, removes=removes, check=check, patience_s=0.0) as scratch:
        yield scratch


@contextmanager
def staged_file(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a scratch path whose file becomes `out` if the block ends without an exception.

    Raises:
        FileExistsError: `out` exists, and `overwrite` is not set. Raised before the block runs.
    """
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder; give a file name, such as {out / REPORT}")
    if out.exists() and not out.is_file():
        raise FileExistsError(f"{out} is {kind_of(out)}; give the name of a file with --out")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} already exists. Give another name with --out, or add --overwrite.")
    with replacing(out) as scratch:
        yield scratch


def refuse_other_file(path: Path, starts: Sequence[bytes], what: str) -> None:
    """Raise FileExistsError if a file that would be replaced is of a different kind.

    Args:
        path: the file.
        starts: possible first bytes of files of the expected kind, in lower case.
        what: the expected kind, such as "an HTML page".
    """
    if not path.is_file():
        return
    with path.open("rb") as stream:
        head = stream.read(_HEAD).lstrip().lower()
    if head and not head.startswith(tuple(starts)):
        raise FileExistsError(f"{path} exists and is not {what}, so it is not replaced; give another name")


def put(result: Result, stage: Path, out: Path) -> None:
    """Write a finished result and its report to `stage`, the scratch folder of `out`.

    Raises:
        OSError: the scratch folder cannot be written to. The result is then kept there or in a temporary
            folder, and a note on the error says where.
    """
    try:
        with written(out):
            result.save(stage)
            if result.shard is None:
                result.report(stage / REPORT)
    except OSError as error:
        if not any((stage / name).exists() for name in (RESULT_FILES[0], SHARD_FILES[0])):
            error.add_note(_rescued(result))
        raise


def _rescued(result: Result) -> str:
    """Save a result in a temporary folder, and return a sentence that says where."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="invariscope-"))
        result.save(folder)
    except OSError as error:
        return f"The result is lost, because it could not be saved in a temporary folder either ({error})."
    return f"The result is kept in {folder}."
