"""The figures of a recipe, written beside its page."""

from __future__ import annotations

import inspect
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.common.wording import listed
from invariscope.lab.recipes.cells import combinations, filled
from invariscope.lab.recipes.figures.averaging import over_trainings
from invariscope.lab.recipes.figures.drawing import CSS_DPI, draw_panels, save_figure
from invariscope.lab.recipes.outcomes import Outcomes
from invariscope.lab.recipes.recipe import Figure, Recipe
from invariscope.lab.recipes.text import Place
from invariscope.plots import PLOTS

FOLDER = "figures"
_FORMATS = ("svg", "png")
_NAMED = 4


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on disk, or the reason why it could not be drawn.

    Args:
        title, about: heading and caption.
        path, width: relative to the page, and in CSS pixels; None if nothing could be drawn.
        notes: what the figure shows and lacks, in sentences.
        reason: why nothing could be drawn.
    """

    title: str
    about: str = ""
    path: Path | None = None
    width: int = 0
    notes: tuple[str, ...] = ()
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
            raise place.error(f"format must be svg or png, got {figure.format!r}", "format")
        _check_trainings(figure, place)
        for chosen in combinations(recipe, figure, place):
            filled(figure.title, chosen, place)
            for inner in _inner(recipe, figure, place, chosen):
                filled([figure.panel, figure.options], inner, place)
                list(_filled_cells(recipe, figure, place, inner))


def _check_trainings(figure: Figure, place: Place) -> None:
    for axis in figure.trainings:
        if not all(f"{{{axis}}}" in pattern.split("/") for pattern in figure.cells):
            raise place.error(f"{{{axis}}} must be a whole part of the name of every cell", "trainings")


def figure_file(title: str, page: Path, suffix: str) -> Path:
    """Return the path of a figure relative to its page."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return Path(FOLDER) / page.stem / f"{name[:80].strip('_')}.{suffix}"


def draw_all(outcomes: Outcomes, page: Path) -> Iterator[DrawnFigure]:
    """Draw every figure that has a finished cell into a folder beside the page."""
    recipe = outcomes.plan.recipe
    for number, figure in enumerate(recipe.figures):
        place = recipe.place("figures", number)
        for chosen in combinations(recipe, figure, place):
            title = filled(figure.title, chosen, place)
            panels = [
                _panel(figure, place, inner, outcomes) for inner in _inner(recipe, figure, place, chosen)
            ]
            yield _drawn(title, figure, panels, page)


@dataclass(frozen=True)
class _Panel:
    """One panel: its title, its results, and the names of its cells.

    Args:
        finished, missing: names of finished and unfinished cells.
        without_maps: finished cells whose maps were left out of the archive.
    """

    title: str
    options: dict[str, Any]
    results: list[Any] = field(default_factory=list)
    finished: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    without_maps: tuple[str, ...] = ()


def _inner(recipe: Recipe, figure: Figure, place: Place, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the axis values of each panel, with those of the figure."""
    axes = recipe.listed(figure.panels, place)
    for values in itertools.product(*axes.values()):
        yield {**chosen, **dict(zip(axes, values, strict=True))}


def _filled_cells(
    recipe: Recipe, figure: Figure, place: Place, chosen: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield (pattern in the recipe, pattern of cells) for each training run."""
    axes = recipe.listed(figure.trainings, place)
    for pattern in figure.cells:
        for values in itertools.product(*axes.values()):
            yield pattern, filled(pattern, {**chosen, **dict(zip(axes, values, strict=True))}, place)


def _panel(figure: Figure, place: Place, chosen: dict[str, Any], outcomes: Outcomes) -> _Panel:
    recipe = outcomes.plan.recipe
    runs: dict[tuple[str, ...], list[str]] = {}
    for pattern, cells in _filled_cells(recipe, figure, place, chosen):
        for name in outcomes.matching([cells]):
            known = runs.setdefault(_apart_from_training(name, pattern, list(figure.trainings)), [])
            known += [name] if name not in known else []
    names = [name for group in runs.values() for name in group]
    finished = outcomes.finished(names)
    options = filled(figure.options, chosen, place)
    results = []
    for group in runs.values():
        done = [outcomes.result(name) for name in group if name in finished]
        if done and figure.trainings:
            done = [over_trainings(done, measures=_measures(options), planned=len(group))]
        results += done
    usual = ", ".join(str(chosen[axis]) for axis in figure.panels)
    title = filled(figure.panel, chosen, place) or usual
    if len(results) == 1 < len(runs) and title:  # plots name the results only if there are several
        title = f"{title} ({results[0].name})"
    missing = tuple(name for name in names if name not in finished)
    without_maps = tuple(outcomes.without_maps(finished))
    return _Panel(title, options, _briefly_named(results), tuple(finished), missing, without_maps)


def _measures(options: dict[str, Any]) -> list[str] | None:
    """Return the measures that a plot with these options shows; None if it chooses itself."""
    return [options[name] for name in ("measure", "accuracy") if name in options] or None


def _briefly_named(results: Sequence[Any]) -> list[Any]:
    """Return the results without the parts of their labels that all of them share."""
    parts = [result.name.split(", ") for result in results]
    shared = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    short = [", ".join(part for part in own if part not in shared) for own in parts]
    return [result.labelled(text or result.name) for result, text in zip(results, short, strict=True)]


def _apart_from_training(name: str, pattern: str, axes: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of a cell's name that do not number its training run.

    >>> _apart_from_training("net/vgg11/start/0", "net/*/{seed}", ["seed"])
    ('net', 'vgg11', 'start')
    """
    wanted, parts = pattern.split("/"), name.split("/")
    places = [wanted.index(f"{{{axis}}}") for axis in axes]
    # A "*" may stand for several parts, so parts behind it are counted from the end.
    places = [p - len(wanted) if any("*" in part for part in wanted[:p]) else p for p in places]
    left_out = {p % len(parts) for p in places}
    return tuple(part for i, part in enumerate(parts) if i not in left_out)


def _drawn(title: str, figure: Figure, panels: Sequence[_Panel], page: Path) -> DrawnFigure:
    missing = list(dict.fromkeys(name for panel in panels for name in panel.missing))
    finished = list(dict.fromkeys(name for panel in panels for name in panel.finished))
    if not finished:
        count = f"none of its {len(missing)} cells is" if len(missing) > 1 else "its cell is not"
        return DrawnFigure(title, figure.about, reason=f"{count} finished")
    plot = PLOTS.get(figure.plot)
    several = next(iter(inspect.signature(plot.prepare).parameters)) == "results"
    parts, without = [], []
    for panel in panels:
        if len(panel.results) < figure.fewest:
            continue
        try:
            given = panel.results if several else panel.results[0]
            parts.append((panel.title, plot.prepare(given, **panel.options)))
        except ValueError as error:
            lost = listed(panel.without_maps, limit=_NAMED)
            without.append(f"{error}; maps left out of the archive: {lost}" if lost else str(error))
    if not parts:
        verb = "is" if len(finished) == 1 else "are"
        few = f"only {len(finished)} of its {len(finished) + len(missing)} cells {verb} finished"
        return DrawnFigure(title, figure.about, reason=without[0] if without else few)
    path = figure_file(title, page, figure.format)
    drawing = draw_panels(parts)
    save_figure(drawing, page.parent / path)
    width = round(CSS_DPI * float(drawing.get_size_inches()[0]))
    return DrawnFigure(title, figure.about, path, width, tuple(_notes(figure, finished, missing)))


def _notes(figure: Figure, finished: Sequence[str], missing: Sequence[str]) -> Iterator[str]:
    if figure.trainings:
        yield "Means over training runs, with intervals over samples within runs (single runs: samples only)."
    if missing:
        alike = Counter(re.sub(r"/\d+$", "/*", name) for name in missing)
        names = listed((f"{name} ({count})" for name, count in alike.items()), limit=_NAMED)
        total = len(finished) + len(missing)
        yield f"Drawn from {len(finished)} of {total} cells; not finished: {names}."
