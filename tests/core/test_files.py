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


def test_the_file_that_marks_a_folder_as_complete_goes_first_and_comes_last(tmp_path, monkeypatch):
    for name in ("index", "other", "zebra"):
        (tmp_path / name).write_text("older")
    moved = []
    replace = os.replace

    def watched(a, b):
        moved.append((Path(b).name, (tmp_path / "index").exists()))
        replace(a, b)

    monkeypatch.setattr(os, "replace", watched)
    with filling(tmp_path, last="index") as scratch:
        for name in ("index", "zebra"):
            (scratch / name).write_text("newer")
    assert moved == [("zebra", False), ("index", False)]
    assert [(tmp_path / name).read_text() for name in names(tmp_path)] == ["newer", "older", "newer"]


def test_numbers_that_json_lacks_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "card.json", {"value": float("nan")})
    write_json(tmp_path / "card.json", {"value": [1, None]})
    assert json.loads((tmp_path / "card.json").read_text()) == {"value": [1, None]}
    assert names(tmp_path) == ["card.json"]
