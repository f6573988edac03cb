"""What the pages show as runnable runs as it stands."""

from __future__ import annotations

import pytest
from marked_pages import ROOT, files_of, script_of

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Pages that show outputs are run by `test_shown_outputs.py`.
RUNNABLE = [
    pytest.param(page, id=str(page.relative_to(ROOT)))
    for page in PAGES
    if script_of(page) and "<!-- output -->" not in page.read_text()
]


@pytest.mark.parametrize("page", RUNNABLE)
def test_marked_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(script_of(page), str(page), "exec"), {"__name__": "__main__"})


def test_a_mark_before_anything_but_python_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n\n    indented\n")
    with pytest.raises(AssertionError, match="before no python block"):
        script_of(page)


def test_blocks_of_another_environment_run_there_only(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```python\na\n```\n\n<!-- run: loggers -->\n```python\nb\n```\n")
    assert script_of(page) == "a\n"
    assert script_of(page, "loggers") == "a\n\nb\n"
    page.write_text("<!-- run: nowhere -->\n```python\nb\n```\n")
    with pytest.raises(AssertionError, match="tests_nowhere"):
        script_of(page)


def test_marked_files_and_scripts_are_told_apart(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run -->\n```python\na\n```\n\n<!-- file: x/y.py -->\n```python\nb\n```\n```python\nc\n```\n"
    )
    assert script_of(page) == "a\n"
    assert files_of(page) == {"x/y.py": "b\n"}
