"""`make pages` writes the pages of recipes from the archive alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.lab import pages

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("INVARISCOPE_DATA", str(tmp_path / "nothing"))


def test_a_page_is_written_from_the_archive_without_data(no_data, tmp_path):
    written = pages.write_pages(["other_measures"], ROOT / "reproductions", tmp_path)
    text = (tmp_path / "other_measures.md").read_text()
    page = written["other_measures"]
    assert text.startswith(f"# {page.outcomes.plan.recipe.title}\n")
    assert f"**{page.finished} cells are finished.**" in text
    heading, _, row = pages.verdict_table(written).splitlines()
    assert heading.startswith("| page | finished cells | claims | confirmed |")
    assert row.startswith(f"| [other_measures](other_measures.md) | {page.finished} | {len(page.verdicts)} |")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--archive", "nowhere"], "there is no archive in nowhere"),
        (["other_measure", "--archive", str(ROOT / "reproductions")], "other_measures"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, monkeypatch, words, why):
    import typer

    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(pages.main)
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert why in done.output
    assert done.output.count("\n") == 1
