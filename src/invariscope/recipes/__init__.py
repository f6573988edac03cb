"""Published experiments, declared as TOML, run cell by cell, with the published numbers beside ours.

    from invariscope import recipes

    plan = recipes.load("quiroga2019", scale="quick")
    store = recipes.Store(Path("reproduction"), plan)

A recipe is one file, NAME.toml, in this package or anywhere else; `invariscope reproduce` runs it.
"""

from __future__ import annotations

from invariscope.recipes.archive import Archive
from invariscope.recipes.cells import Cell, Plan, planned
from invariscope.recipes.data_needed import data_in_words, missing_data, refuse_missing_data
from invariscope.recipes.estimate import estimated
from invariscope.recipes.figures import check_figures
from invariscope.recipes.outcomes import Outcomes
from invariscope.recipes.page import Page
from invariscope.recipes.recipe import Recipe, find, names, read
from invariscope.recipes.running import Runner, own_command, run_cell, unfinished
from invariscope.recipes.store import BusyError, Store
from invariscope.recipes.text import RecipeError
from invariscope.recipes.verdicts import check_values

__all__ = [
    "Archive",
    "BusyError",
    "Cell",
    "Outcomes",
    "Page",
    "Plan",
    "Recipe",
    "RecipeError",
    "Runner",
    "Store",
    "data_in_words",
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


def load(name: str, *, scale: str | None = None) -> Plan:
    """The cells of a recipe, everything in it checked.

    Args:
        name: a recipe of the package, or a .toml file.
        scale: one of the recipe's; None: "quick" where there is one, else the published scale.
    Raises:
        RecipeError: something in the recipe is wrong; the message says where.
        FileNotFoundError, ValueError: no such recipe or scale.
    """
    recipe = read(name)
    chosen = scale or ("quick" if "quick" in recipe.scales else recipe.published_scale)
    plan = planned(recipe, chosen)
    check_values(plan)
    check_figures(recipe)
    return plan
