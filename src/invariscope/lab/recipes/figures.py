"""The figures of a recipe, written beside its page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from invariscope.lab.recipes.cells import combinations, filled
from invariscope.lab.recipes.outcomes import Outcomes
from invariscope.lab.recipes.recipe import Figure, Recipe
from invariscope.plots import PLOTS

FOLDER = "figures"
_FORMATS = ("png", "svg")
_DPI = 110


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on disk, or the reason why it could not be drawn.

    Args:
        title, about: heading and caption.
        path: relative to the page; None if nothing could be drawn.
        missing: unfinished cells that the figure lacks.
        reason: why nothing could be drawn.
    """

    title: str
    about: str
    path: Path | None
    missing: tuple[str, ...] = ()
    reason: str = ""


def check_figures(recipe: Recipe) -> None:
    """Reject unknown plots, options and axes before any cell runs.

    Raises:
        RecipeError: an error in a figure; the message points at the line.
    """
    for number, figure in enumerate(recipe.figures):
        place = recipe.place("figures", number)
        try:
            parameters = list(inspect.signature(PLOTS.get(figure.plot).prepare).parameters)
        except ValueError as error:
            raise place.error(str(error), f'"{figure.plot}"') from error
        for option in figure.options:
            if option not in parameters[1:]:
                known = ", ".join(parameters[1:])
                raise place.error(f"{figure.plot} has no option {option!r}. It has: {known}.", option)
        if figure.format not in _FORMATS:
            raise place.error(f"format must be png or svg, got {figure.format!r}", "format")
        for chosen in combinations(recipe, figure, place):
            filled([figure.title, *figure.cells, figure.options], chosen, place)


def draw_all(outcomes: Outcomes, folder: Path) -> Iterator[DrawnFigure]:
    """Draw every figure that has a finished cell."""
    recipe = outcomes.plan.recipe
    for number, figure in enumerate(recipe.figures):
        place = recipe.place("figures", number)
        for chosen in combinations(recipe, figure, place):
            entries = [figure.title, figure.cells, figure.options]
            title, patterns, options = filled(entries, chosen, place)
            yield _drawn(replace(figure, title=title, cells=patterns, options=options), outcomes, folder)


def _drawn(figure: Figure, outcomes: Outcomes, folder: Path) -> DrawnFigure:
    """Draw one figure, with the axis values already filled in."""
    title, finished = figure.title, outcomes.finished(figure.cells)
    missing = tuple(name for name in outcomes.matching(figure.cells) if name not in finished)
    if not finished:
        return DrawnFigure(title, figure.about, None, missing, "none of its cells is finished")
    path = Path(FOLDER) / f"{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}.{figure.format}"
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    results = [outcomes.result(name) for name in finished]
    plot = PLOTS.get(figure.plot)
    several = next(iter(inspect.signature(plot.prepare).parameters)) == "results"
    try:
        drawing = plot.prepare(results if several else results[0], **figure.options).draw()
    except ValueError as error:
        return DrawnFigure(title, figure.about, None, missing, str(error))
    drawing.savefig(folder / path, dpi=_DPI, bbox_inches="tight")
    return DrawnFigure(title, figure.about, path, missing)
