"""The recipe that the documentation shows is one."""

from __future__ import annotations

import re

from marked_pages import ROOT

from invariscope.lab import recipes

PAGE = (ROOT / "docs" / "reproductions" / "running.md").read_text()


def test_the_documented_recipe_can_be_planned(tmp_path):
    shown = re.search(r"```toml\n(.*?)```", PAGE, re.S)
    assert shown is not None
    path = tmp_path / "mine.toml"
    path.write_text(shown[1])
    names = [cell.name for cell in recipes.load(str(path)).cells]
    assert names == ["train/plain", "train/rotated", "nv/plain", "nv/rotated"]


def test_the_documented_numbers_of_cells_are_those_of_the_recipe():
    plan = recipes.load("quiroga2019", scale="paper")
    for stage in (0, 1):
        numbers = [number for number, cell in enumerate(plan.cells) if cell.stage == stage]
        span = f"{numbers[0]} to {numbers[-1]}"
        assert f"stage {stage}: cells {span}" in PAGE
        assert f"--array={span.replace(' to ', '-')}" in PAGE
