"""`make pages` writes the pages of recipes from the archive alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.lab import pages, recipes

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


def test_a_block_is_replaced_and_the_text_around_it_stays(tmp_path):
    path = tmp_path / "index.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n")
    for _ in range(2):  # the second time changes nothing
        pages.fill_blocks(path, {"a": "new \\1"})
        assert path.read_text() == "before\n<!-- a -->\n\nnew \\1\n\n<!-- end of a -->\nafter\n"
    with pytest.raises(ValueError, match="lacks the block <!-- b -->"):
        pages.fill_blocks(path, {"b": "new"})


def test_the_committed_summaries_have_a_place_for_every_block(tmp_path):
    for name, blocks in pages.summaries({}, {}).items():
        copy = tmp_path / name
        copy.write_text((ROOT / "docs" / "reproductions" / name).read_text())
        pages.fill_blocks(copy, dict.fromkeys(blocks, "text"))
        assert copy.read_text().count("\ntext\n") == len(blocks)


def test_the_committed_summaries_agree_with_the_committed_pages():
    """All are written by one command, so a page without its verdicts in the summaries is stale."""
    index = (ROOT / "docs" / "reproductions" / "index.md").read_text()
    changed = (ROOT / "docs" / "reproductions" / "verdicts.md").read_text()
    for name in recipes.names():
        text = (ROOT / "docs" / "reproductions" / f"{name}.md").read_text()
        finished = re.search(r"\*\*(\d+ of \d+) cells are finished", text)
        assert finished is not None
        assert f"| [{name}]({name}.md) | {finished[1]} |" in index
        section = changed.partition(f"]({name}.md)\n")[2].partition("\n###")[0]
        claims = text.partition("\n## Claims\n")[2].partition("\n## ")[0]
        for claim in recipes.read(name).claims:
            shown = next(line for line in claims.splitlines() if line.startswith(f"| {claim.text}"))
            verdict = shown.removeprefix(f"| {claim.text}").split(" | ")[1]
            row = next(line for line in section.splitlines() if line.startswith(f"| {claim.text} |"))
            assert f" | {verdict} | " in row


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
