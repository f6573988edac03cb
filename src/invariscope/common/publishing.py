"""Publish the files of a finished result in a folder: all of them or none, whatever happens meanwhile.

A new folder is made beside its final path and renamed. In a folder that exists, which may be a mount point,
the working directory, or the target of a symbolic link, the files are made in a subfolder. Renaming that
subfolder to `.publishing` decides that the new files count; moving them into place can then be interrupted,
and is completed by whoever opens the folder next.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from invariscope.common.locks import InUseError, held, locked

PATIENCE_S = 5.0
_ATTEMPTS = 50
_DECIDED, _REMOVED = ".publishing", "removed.json"
_UNFINISHED, _LOCK, _KEPT = ".unfinished", ".lock", "kept"
_REMEDY = "Give a folder on a disk that has room and can be written to."
_LONGEST = 150  # characters of the name of a folder in names beside it
T = TypeVar("T")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link to itself",
}


@contextlib.contextmanager
def filling(
    folder: Path,
    *,
    last: str,
    removes: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
    patience_s: float = PATIENCE_S,
) -> Iterator[Path]:
    """Yield a scratch folder whose files move into `folder` if the block ends without an exception.

    A new folder appears in one step. In a folder that exists, files and subfolders of the same names are
    replaced together, and others stay. After an exception, including Ctrl-C, `folder` is unchanged; if its
    files were complete, they are kept elsewhere, and a note on the exception says where.

    Args:
        folder: the destination. Until the block ends, no other process can fill it.
        last: the file that marks the scratch folder as complete.
        removes: files and subfolders to remove from `folder` when the new ones appear.
        check: called before the block runs, when no other process can change the folder any more.
        patience_s: seconds to wait for a process that is filling the folder.
    Raises:
        InUseError: another process is filling the folder.
        OSError: the folder cannot be made or written to. Raised before the block runs.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(claimed(folder, patience_s=patience_s))
        check()
        with _clearly(folder):
            scratch = stack.enter_context(new_folder(_inside(place) if place.is_dir() else _outside(place)))
        try:
            yield scratch
            with _clearly(folder):
                _publish(scratch, place, removes)
        except BaseException as error:
            kept = _kept(scratch, place, last) if isinstance(error, Exception) else None
            if kept is None:
                shutil.rmtree(scratch, ignore_errors=True)
            else:
                error.add_note(f"The finished files are kept in {kept}.")
            raise


@contextlib.contextmanager
def claimed(folder: Path, *, patience_s: float = PATIENCE_S) -> Iterator[Path]:
    """Keep other processes from filling a folder, and yield its path without symbolic links.

    Missing folders above it are created, and removed if they are empty at the end. What killed processes have
    left is completed or removed.

    Raises:
        InUseError: another process is filling the folder.
        OSError: the folder cannot be made or written to.
    """
    place, made = Path(os.path.realpath(folder)), []
    if found := obstacle(folder):
        raise FileExistsError(f"{found}; give a folder")
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        with _clearly(folder):
            made += _make(place.parent)
            stack.enter_context(locked(_lock_of(place), str(folder), patience_s=patience_s))
            _move_into_place(place)
        for prefix in (_inside(place), _outside(place)):
            sweep(prefix)
        yield place


def settle(folder: Path) -> None:
    """Complete the replacement of files in a folder that a killed process had decided, if there is one.

    Raises:
        OSError: the folder cannot be written to.
    """
    if not _decided(folder).is_dir():
        return
    place = Path(os.path.realpath(folder))
    try:
        with locked(_lock_of(place), str(folder), patience_s=PATIENCE_S):
            _move_into_place(place)
    except OSError as error:
        raise type(error)(
            f"a killed process left {folder} with new files that are not yet in place, and they cannot be "
            f"moved there now ({reason_of(error)}). Load the folder as a user who can write to it."
        ) from error


def undisturbed(folder: Path, names: Sequence[str], read: Callable[[], T]) -> T:
    """Read files that belong together; read them again if another process replaced any of them meanwhile.

    Args:
        folder: the folder, which is settled first.
        names: names of the files.
        read: reads them.
    Raises:
        OSError: they are replaced again and again.
    """
    for _ in range(_ATTEMPTS):
        settle(folder)
        before = _stamps(folder, names)
        try:
            found = read()
        except (OSError, ValueError):
            if _stamps(folder, names) == before:
                raise
        else:
            if _stamps(folder, names) == before:
                return found
    raise OSError(f"another process keeps overwriting {folder}; read it when that has ended")


def _stamps(folder: Path, names: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """Return what changes when a file is replaced, for each file and for the folder of decided files."""
    found = []
    for name in (*names, _DECIDED):
        try:
            about = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((about.st_ino, about.st_mtime_ns, about.st_size))
    return found


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds apart from locks and what unfinished processes have left there."""
    found = (path for path in folder.iterdir() if not path.name.startswith(_UNFINISHED))
    return sorted(path for path in found if path.name != _LOCK)


def beside(folder: Path, ending: str) -> Path:
    """Return the path for the unfinished state of a folder: beside it or, if that is not writable, inside."""
    place = Path(os.path.realpath(folder))
    if not place.is_dir() or os.access(place.parent, os.W_OK | os.X_OK):
        name = f"{place.name}{_UNFINISHED}{ending}"
        return folder.with_name(name) if folder.name and place == folder.absolute() else place.with_name(name)
    return folder / f"{_UNFINISHED}{ending}"


def obstacle(folder: Path) -> str:
    """Say what is in the way of a folder, such as "runs/a is a file"; empty if nothing is."""
    place = Path(os.path.realpath(folder))
    there = next(path for path in (place, *place.parents) if os.path.lexists(path))
    kind = kind_of(there)
    return f"{folder if there == place else there} is {kind}" if kind != "a folder" else ""


def kind_of(path: Path) -> str:
    """Return "a folder", "a file" or what else there is at an existing path."""
    try:
        mode = path.stat().st_mode
    except OSError:  # a link without an end
        mode = path.lstat().st_mode
    return "a folder" if stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode), "a file")


@contextlib.contextmanager
def new_folder(prefix: str) -> Iterator[Path]:
    """Make a folder whose path starts with a prefix, and hold it so that `sweep` spares it."""
    with contextlib.ExitStack() as stack:
        number = -1
        while True:
            number += 1
            path = Path(f"{prefix}{os.getpid()}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            if stack.enter_context(held(path)) is not False:  # False: another process has just swept it
                break
        yield path


def sweep(prefix: str) -> None:
    """Remove the folders of killed processes whose path starts with a prefix, but none with kept files."""
    try:
        left = [path for path in Path(prefix).parent.iterdir() if str(path).startswith(prefix)]
    except OSError:  # it does not exist, or cannot be listed
        return
    for path in left:
        with held(path) as abandoned:
            if abandoned and not (path / _KEPT).exists():
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def written(folder: Path) -> Iterator[None]:
    """Raise OSError, which names the folder and the reason, if files for it cannot be written."""
    try:
        yield
    except Exception as error:
        # safetensors has its own exception for a full disk, which is not an OSError.
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        # The cause of a nested error, whose message would name a scratch folder.
        first = error.__cause__ if isinstance(error.__cause__, Exception) else error
        reason = getattr(first, "strerror", None) or str(first)
        raise OSError(f"cannot write to {folder}: {reason}. {_REMEDY}") from first


def reason_of(error: OSError) -> str:
    """Return the reason that the operating system gives, and the folder that it concerns."""
    reason = str(error.strerror or error)
    return reason if error.filename is None else f"{reason} in {Path(str(error.filename)).parent}"


def open_up(folder: Path) -> None:
    """Give files the usual permissions; safetensors writes files that only their owner can read."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


@contextlib.contextmanager
def _clearly(folder: Path) -> Iterator[None]:
    """Let errors of the operating system say which folder could not be written, and what to do."""
    try:
        yield
    except InUseError as error:
        raise InUseError(f"{error}. Wait until it has ended, or give another folder.") from None
    except OSError as error:
        if error.errno is None:  # one of ours
            raise
        raise type(error)(f"cannot write to {folder}: {reason_of(error)}. {_REMEDY}") from error


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        with contextlib.suppress(OSError):  # not empty
            path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make a folder, and return those that were missing, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _lock_of(place: Path) -> Path:
    """Return the lock file beside a folder or, if that is not writable, inside."""
    if place.is_dir() and not os.access(place.parent, os.W_OK | os.X_OK):
        return place / _LOCK
    return place.parent / f".{place.name[:_LONGEST]}{_LOCK}"


def _inside(place: Path) -> str:
    """Return how the paths of scratch folders in an existing folder start."""
    return str(place / f"{_UNFINISHED}-")


def _outside(place: Path) -> str:
    """Return how the paths of scratch folders beside a new folder start."""
    return str(place.parent / f".{place.name[:_LONGEST]}{_UNFINISHED}-")


def _publish(scratch: Path, place: Path, removes: Sequence[str]) -> None:
    open_up(scratch)
    if not place.exists():
        os.replace(scratch, place)
        return
    if names := [name for name in removes if (place / name).exists()]:
        (scratch / _REMOVED).write_text(json.dumps(names), encoding="utf-8")
    for path in scratch.iterdir():
        there = place / path.name
        if there.is_dir() and not path.is_dir():
            raise FileExistsError(f"{there} is a folder, where a file is to be written; move it away")
    os.replace(scratch, _decided(place))
    _move_into_place(place)


def _decided(place: Path) -> Path:
    return place / _DECIDED


def _move_into_place(place: Path) -> None:
    """Move decided files to where they belong. It can be interrupted and repeated at any point."""
    decided = _decided(place)
    if not decided.is_dir():
        return
    listing = decided / _REMOVED
    if listing.exists():
        for name in json.loads(listing.read_text(encoding="utf-8")):
            _remove(place / name)
        listing.unlink()
    # Documents come last, because they describe other files.
    for path in sorted(decided.iterdir(), key=lambda path: path.suffix == ".json"):
        if path.is_dir():
            _remove(place / path.name)
        os.replace(path, place / path.name)
    decided.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _kept(scratch: Path, place: Path, last: str) -> Path | None:
    """Keep complete files, under a name that no later process removes, and return where they are."""
    if _decided(place).is_dir():
        return _decided(place)
    if not (scratch / last).exists():
        return None
    name = scratch.name.lstrip(".").replace(_UNFINISHED.lstrip("."), "unpublished")
    with contextlib.suppress(OSError):
        return scratch.rename(scratch.with_name(name))
    with contextlib.suppress(OSError):
        (scratch / _KEPT).touch()
    return scratch
