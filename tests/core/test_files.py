import json
import os
import stat
from pathlib import Path

import pytest

from invariscope.common.files import replacing, scratch_beside, write_json
from invariscope.common.publishing import filling


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_scratch_folder_lies_in_the_nearest_folder_that_exists_and_goes_again(tmp_path):
    with scratch_beside(tmp_path / "runs" / "first") as scratch:
        assert scratch.parent == tmp_path
        (scratch / "half").write_text("x")
    assert names(tmp_path) == []


def test_a_replaced_file_is_as_readable_as_any_new_one(tmp_path):
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "new" / "page.html") as scratch:
        scratch.write_text("whole")
        scratch.chmod(0o600)
    page = tmp_path / "new" / "page.html"
    assert page.read_text() == "whole"
    assert stat.S_IMODE(page.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert names(tmp_path) == ["new", "usual"]


def test_a_failure_leaves_the_older_file(tmp_path):
    (tmp_path / "page.html").write_text("older")

    def interrupted() -> None:
        with replacing(tmp_path / "page.html") as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "page.html").read_text() == "older"
    assert names(tmp_path) == ["page.html"]


def test_a_new_folder_appears_in_one_step(tmp_path, monkeypatch):
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append(Path(b).name), replace(a, b)))
    with filling(tmp_path / "run", last="index") as scratch:
        for name in ("index", "data"):
            (scratch / name).write_text(name)
    assert moved == ["run"]
    assert names(tmp_path / "run") == ["data", "index"]


def test_files_of_other_names_stay(tmp_path):
    for name in ("index", "other"):
        (tmp_path / name).write_text("older")
    with filling(tmp_path, last="index") as scratch:
        for name in ("index", "zebra"):
            (scratch / name).write_text("newer")
    assert [(tmp_path / name).read_text() for name in names(tmp_path)] == ["newer", "older", "newer"]


def test_a_symbolic_link_to_a_file_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for text in ("new", "newer"):
        with replacing(tmp_path / "link") as scratch:
            scratch.write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "target").read_text() == text


def test_a_named_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe is a named pipe"), replacing(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_scratch_folders_of_killed_processes_are_removed_but_none_in_use(tmp_path):
    abandoned = tmp_path / ".page.html.scratch-1-0"
    abandoned.mkdir()
    (abandoned / "half").write_text("x")
    with scratch_beside(tmp_path / "page.html") as first, scratch_beside(tmp_path / "page.html") as second:
        assert not abandoned.exists()
        assert (first.is_dir(), second.is_dir()) == (True, True)
    assert names(tmp_path) == []


def test_numbers_that_json_lacks_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "card.json", {"value": float("nan")})
    write_json(tmp_path / "card.json", {"value": [1, None]})
    assert json.loads((tmp_path / "card.json").read_text()) == {"value": [1, None]}
    assert names(tmp_path) == ["card.json"]
