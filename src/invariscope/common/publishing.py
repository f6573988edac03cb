"""Publish the files of a finished result in a folder atomically: either all files appear or none.

A new folder is created beside its final path and then renamed. If the folder exists (it may be a mount
point, the working directory, or the target of a symbolic link), the files are written to a subfolder.
Renaming that subfolder to `.publishing` commits the new files. If moving them into place is interrupted, the
next process that opens the folder completes it.
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
_REMEDY = "Choose a folder on a writable disk with enough free space."
_LONGEST = 150  # characters of a folder's name in the names of its lock and scratch folders
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

    A new folder appears in one step. In an existing folder, files and subfolders of the same names are
    replaced together, and others are left alone. After an exception, including Ctrl-C, `folder` is unchanged.
    If the new files were complete, they are kept elsewhere, and a note on the exception says where.

    Args:
        folder: the destination, which no other process can fill until the block ends.
        last: the file that marks the scratch folder as complete.
        removes: files and subfolders to remove from `folder` when the new ones appear.
        check: called before the block runs, once other processes can no longer change the folder.
        patience_s: seconds to wait for a process that is filling the folder.
    Raises:
        InUseError: another process is filling the folder.
        OSError: the folder cannot be created or written to. Raised before the block runs.
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
    """Keep other processes from filling a folder, and yield its path with symbolic links resolved.

    Missing parent folders are created, and removed again if they are empty at the end. Anything that killed
    processes left behind is completed or removed.

    Raises:
        InUseError: another process is filling the folder.
        OSError: the folder cannot be created or written to.
    """
    place, made = Path(os.path.realpath(folder)), []
    if found := obstacle(folder):
        raise FileExistsError(f"{found}; choose a folder")
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
    """Complete the replacement of files that a killed process committed in a folder, if there is one.

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
            f"a process was killed while moving new files into {folder}, and the move cannot be completed "
            f"now ({reason_of(error)}). Load the folder as a user who can write to it."
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
    """Return the contents of a folder without locks and the remains of unfinished processes."""
    found = (path for path in folder.iterdir() if not path.name.startswith(_UNFINISHED))
    return sorted(path for path in found if path.name != _LOCK)


def beside(folder: Path, ending: str) -> Path:
    """Return a path for unfinished work on a folder: beside it or, if its parent is not writable, inside."""
    place = Path(os.path.realpath(folder))
    if not place.is_dir() or os.access(place.parent, os.W_OK | os.X_OK):
        name = f"{place.name}{_UNFINISHED}{ending}"
        return folder.with_name(name) if folder.name and place == folder.absolute() else place.with_name(name)
    return folder / f"{_UNFINISHED}{ending}"


def obstacle(folder: Path) -> str:
    """Return why a path cannot be a folder, such as "runs/a is a file"; empty if it can."""
    place = Path(os.path.realpath(folder))
    there = next(path for path in (place, *place.parents) if os.path.lexists(path))
    kind = kind_of(there)
    return f"{folder if there == place else there} is {kind}" if kind != "a folder" else ""


def kind_of(path: Path) -> str:
    """Return what an existing path is: "a folder", "a file", "a socket" and so on."""
    try:
        mode = path.stat().st_mode
    except OSError:  # a loop of symbolic links
        mode = path.lstat().st_mode
    return "a folder" if stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode), "a file")


@contextlib.contextmanager
def new_folder(prefix: str) -> Iterator[Path]:
    """Create a folder whose path starts with a prefix, and lock it so that `sweep` does not remove it."""
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
    """Remove folders of killed processes whose path starts with a prefix, unless they contain kept files."""
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
    """Raise OSError with the folder and the reason if its files cannot be written."""
    try:
        yield
    except Exception as error:
        # safetensors has its own exception for a full disk, which is not an OSError.
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        # The message of the outer error would name a scratch folder.
        first = error.__cause__ if isinstance(error.__cause__, Exception) else error
        reason = getattr(first, "strerror", None) or str(first)
        raise OSError(f"cannot write to {folder}: {reason}. {_REMEDY}") from first


def reason_of(error: OSError) -> str:
    """Return the reason given by the operating system, and the folder concerned."""
    reason = str(error.strerror or error)
    return reason if error.filename is None else f"{reason} in {Path(str(error.filename)).parent}"


def open_up(folder: Path) -> None:
    """Give files the permissions of their folder; safetensors makes files that only their owner can read."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)


@contextlib.contextmanager
def _clearly(folder: Path) -> Iterator[None]:
    """Make errors of the operating system say which folder could not be written to, and what to do."""
    try:
        yield
    except InUseError as error:
        raise InUseError(f"{error}. Wait until it ends, or choose another folder.") from None
    except OSError as error:
        if error.errno is None:  # one of ours
            raise
        raise type(error)(f"cannot write to {folder}: {reason_of(error)}. {_REMEDY}") from error


def _remove_empty(folders: list[Path]) -> None:
    for path in folders:
        with contextlib.suppress(OSError):  # not empty
            path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Create a folder and its parents, and return those that were missing, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _lock_of(place: Path) -> Path:
    """Return the lock file of a folder: beside it or, if its parent is not writable, inside."""
    if place.is_dir() and not os.access(place.parent, os.W_OK | os.X_OK):
        return place / _LOCK
    return place.parent / f".{place.name[:_LONGEST]}{_LOCK}"


def _inside(place: Path) -> str:
    """Return the prefix of the paths of scratch folders in an existing folder."""
    return str(place / f"{_UNFINISHED}-")


def _outside(place: Path) -> str:
    """Return the prefix of the paths of scratch folders beside a new folder."""
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
            raise FileExistsError(f"{there} is a folder, but a file must be written there; move it away")
    os.replace(scratch, _decided(place))
    _move_into_place(place)


def _decided(place: Path) -> Path:
    return place / _DECIDED


def _move_into_place(place: Path) -> None:
    """Move committed files into place. This can be interrupted and repeated at any point."""
    decided = _decided(place)
    if not decided.is_dir():
        return
    listing = decided / _REMOVED
    if listing.exists():
        for name in json.loads(listing.read_text(encoding="utf-8")):
            _remove(place / name)
        listing.unlink()
    # JSON documents come last, because they describe the other files.
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
    """Keep complete files under a name that no later process removes, and return their folder."""
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
