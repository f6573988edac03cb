"""Published experiments, declared in TOML and run cell by cell, with the published numbers beside ours.

    from invariscope.lab import recipes

    plan = recipes.load("quiroga2019", scale="campaign")
    store = recipes.Store(Path("reproduction"), plan)

A recipe is one file, NAME.toml, in this package or anywhere else; `invariscope reproduce` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from invariscope.lab.recipes.archive import Archive
from invariscope.lab.recipes.cases import check_values
from invariscope.lab.recipes.cells import Cell, RecipePlan, planned
from invariscope.lab.recipes.data_needed import data_in_words, missing_data, refuse_missing_data
from invariscope.lab.recipes.estimate import estimated
from invariscope.lab.recipes.figures import check_figures
from invariscope.lab.recipes.floors import check_floors
from invariscope.lab.recipes.frozen import history
from invariscope.lab.recipes.outcomes import Outcomes
from invariscope.lab.recipes.page import Page
from invariscope.lab.recipes.recipe import Recipe, find, names, read
from invariscope.lab.recipes.running import (
    PAUSE_S,
    CellProcess,
    CellRunner,
    own_command,
    run_cell,
    unfinished,
)
from invariscope.lab.recipes.stopping import ending
from invariscope.lab.recipes.store import BusyError, Store
from invariscope.lab.recipes.text import RecipeError

__all__ = [
    "PAUSE_S",
    "Archive",
    "BusyError",
    "Cell",
    "CellProcess",
    "CellRunner",
    "Outcomes",
    "Page",
    "Recipe",
    "RecipeError",
    "RecipePlan",
    "Store",
    "data_in_words",
    "ending",
    "estimated",
    "find",
    "load",
    "missing_data",
    "names",
    "own_command",
    "read",
    "refuse_missing_data",
    "run_cell",
    "unfinished",
]

USUAL_SCALES = ("campaign", "quick")


def load(name: str, *, scale: str | None = None, seeds: Sequence[int] | None = None) -> RecipePlan:
    """Read and check a recipe, and return its cells.

    Args:
        name: a recipe of the package, or a .toml file.
        scale: a scale of the recipe; None: "campaign" or "quick" if it has one, else the published scale.
        seeds: seeds that replace the recipe's list `seeds`, for a replication with fresh training runs.
    Raises:
        RecipeError: an error in the recipe; the message points at the line.
        FileNotFoundError, ValueError: unknown recipe or scale, or seeds that cannot be used.
    """
    recipe = written = read(name)
    if seeds is not None:
        recipe = written.with_seeds(list(seeds))
    usual = next((known for known in USUAL_SCALES if known in recipe.scales), recipe.published_scale)
    plan = planned(recipe, scale or usual)
    check_floors(plan)
    check_values(plan)
    check_figures(recipe)
    return replace(plan, history=history(name, written), seeds=tuple(seeds or ()))
