"""Folders are filled completely or not at all, by one process at a time, and finished files are not lost."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from invariscope.common import locks
from invariscope.common.locks import InUseError, locked
from invariscope.common.publishing import entries, filling, settle

FILES = ("data", "index.json")
OPERATIONS = ("mkdir", "rename", "replace", "rmdir", "unlink")


class Killed(BaseException):
    """Ends a process that does nothing more."""


def fill(folder: Path, text: str) -> None:
    with filling(folder, last="index.json", removes=["stale"], patience_s=0) as scratch:
        for name in FILES:
            (scratch / name).write_text(text)
        (scratch / "curves").mkdir()
        (scratch / "curves" / "data").write_text(text)


def fill_one_by_one(folder: Path, text: str) -> None:
    for name in FILES:
        scratch = folder / f".unfinished-{name}"
        scratch.write_text(text)
        os.replace(scratch, folder / name)


def dies_at(number: int, monkeypatch, action: Callable[[], None]) -> bool:
    """Return whether the action was killed at this file system operation, and did nothing after it."""
    done = 0

    def counted(operation):
        def run(*arguments, **options):
            nonlocal done
            if done >= number:
                raise Killed
            done += 1
            return operation(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, counted(getattr(os, name)))
        with contextlib.suppress(Killed):
            action()
    locks._forget()  # the locks of a killed process
    return done >= number


def found(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in (*FILES, "curves/data") if (folder / name).exists()}


def states_after_kills(folder: Path, monkeypatch, action: Callable[[Path, str], None]) -> list[set[str]]:
    """Return what a folder holds after an action in it was killed at each of its operations."""
    states = []
    for number in range(100):
        place = folder / str(number)
        fill(place, "old")
        (place / "stale").write_text("old")
        (place / "notes").write_text("precious")
        killed = dies_at(number, monkeypatch, lambda place=place: action(place, "new"))
        settle(place)
        assert (place / "notes").read_text() == "precious"
        states.append(found(place))
        if not killed:
            return states
    raise AssertionError("100 operations were not enough")


def test_a_swap_that_is_killed_anywhere_leaves_the_old_files_or_the_new_ones(tmp_path, monkeypatch):
    states = states_after_kills(tmp_path, monkeypatch, fill)
    assert set(map(frozenset, states)) == {frozenset({"old"}), frozenset({"new"})}
    for place in tmp_path.iterdir():
        if place.is_dir():
            assert (place / "stale").exists() == (found(place) == {"old"})
            fill(place, "last")
            assert sorted(path.name for path in place.iterdir()) == ["curves", "data", "index.json", "notes"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.isdigit()] == []


def test_kills_reveal_a_swap_that_is_not_atomic(tmp_path, monkeypatch):
    assert {"old", "new"} in states_after_kills(tmp_path, monkeypatch, fill_one_by_one)


def test_a_new_folder_that_is_killed_is_complete_or_missing(tmp_path, monkeypatch):
    for number in range(100):
        place = tmp_path / str(number) / "runs" / "run"
        killed = dies_at(number, monkeypatch, lambda place=place: fill(place, "new"))
        assert not place.exists() or found(place) == {"new"}
        if not killed:
            break
        fill(place, "again")
        assert sorted(path.name for path in place.iterdir()) == ["curves", "data", "index.json"]
        assert [path.name for path in place.parent.iterdir()] == ["run"]
    else:
        raise AssertionError("100 operations were not enough")
    assert number > 3


def test_a_second_writer_is_refused_and_learns_who_is_first(tmp_path):
    who = rf"run is in use by another process \(process {os.getpid()}, since \d{{4}}-\d\d-\d\d [\d:]+ UTC\)"
    for _ in range(2):  # for a new folder, and for one that exists
        with filling(tmp_path / "run", last="index.json") as scratch:
            with pytest.raises(InUseError, match=who):
                fill(tmp_path / "run", "second")
            (scratch / "index.json").write_text("first")
        assert (tmp_path / "run" / "index.json").read_text() == "first"


def test_a_link_and_its_folder_have_one_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with filling(tmp_path / "run", last="index.json"), pytest.raises(InUseError):
        fill(tmp_path / "link", "second")


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path):
    (tmp_path / ".run.lock").write_text("process 1, since 2020-01-01 00:00:00 UTC")
    fill(tmp_path / "run", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_holds_no_lock_even_if_its_children_live_on(tmp_path):
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom invariscope.common.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'run'):\n"
        "    child = os.fork()\n    if child: print(child, flush=True)\n    time.sleep(600)\n"
    )
    lock = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            with pytest.raises(InUseError, match=f"process {parent.pid}, since"), locked(lock, "run"):
                pass
            parent.kill()
            parent.wait()
            with locked(lock, "run", patience_s=30) as alone:
                assert alone is True
        finally:
            parent.kill()
            os.kill(child, signal.SIGKILL)


def test_finished_files_are_kept_if_they_cannot_be_moved(tmp_path, monkeypatch):
    def denied(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    for again in (False, True):  # a new folder, and one that exists
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", denied)
            with pytest.raises(PermissionError, match="cannot write to") as raised:
                fill(tmp_path / "run", "precious")
        (note,) = raised.value.__notes__
        kept = Path(note.removeprefix("The finished files are kept in ").removesuffix("."))
        assert found(kept) == {"precious"}
        fill(tmp_path / "run", "later")
        assert found(kept) == {"precious"}
        assert kept.parent == (tmp_path / "run" if again else tmp_path)


def test_finished_files_stay_if_nothing_can_be_renamed_and_are_never_swept(tmp_path, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    fill(tmp_path / "run", "older")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", denied)
        patch.setattr(os, "rename", denied)
        with pytest.raises(PermissionError) as raised:
            fill(tmp_path / "run", "precious")
    kept = Path(raised.value.__notes__[0].removeprefix("The finished files are kept in ").removesuffix("."))
    assert found(kept) == {"precious"}
    fill(tmp_path / "run", "later")
    assert found(kept) == {"precious"}
    assert [path.name for path in entries(tmp_path / "run")] == ["curves", "data", "index.json"]


def test_an_error_after_the_last_file_keeps_what_was_finished(tmp_path):
    def fails():
        with filling(tmp_path / "run", last="index.json") as scratch:
            (scratch / "index.json").write_text("precious")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        fails()
    (kept,) = tmp_path.iterdir()
    assert raised.value.__notes__ == [f"The finished files are kept in {kept}."]
    assert (kept / "index.json").read_text() == "precious"


def test_a_folder_in_the_place_of_a_file_is_not_removed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes").write_text("precious")
    with pytest.raises(
        FileExistsError, match=r"data is a folder, but a file must be written there; move it away"
    ):
        fill(tmp_path, "new")
    assert (tmp_path / "data" / "notes").read_text() == "precious"


def test_a_name_as_long_as_the_file_system_allows_can_be_filled(tmp_path):
    fill(tmp_path / ("x" * 255), "new")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
