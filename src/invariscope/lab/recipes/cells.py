"""The cells of a recipe at one scale: names, options, needs, and what the scale shortens."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from invariscope.common.globs import matches, matches_any
from invariscope.common.registry import closest, unknown
from invariscope.lab.recipes.kinds import KINDS, Kind
from invariscope.lab.recipes.recipe import Claim, Figure, Recipe, RecipeTable, Template, When
from invariscope.lab.recipes.text import Place

if TYPE_CHECKING:
    from invariscope.lab.recipes.frozen import FreezeHistory

SCALE = "scale"
_BRACED = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Cell:
    """One training run or measurement, which runs in its own process.

    Args:
        name: name of the cell, unique within the recipe.
        kind: a name in `KINDS`.
        options: options of the kind.
        stage: 0 if it needs no other cell, else one more than the highest stage among its needs.
        shortened: (value here, published value) of each option that the scale changes.
    """

    name: str
    kind: str
    options: Kind
    stage: int = 0
    shortened: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the cells that must be finished first."""
        return self.options.needs


@dataclass(frozen=True)
class RecipePlan:
    """All cells of a recipe at one scale.

    Args:
        recipe, scale: the recipe, and the name of the scale.
        cells: the cells, ordered by stage.
        left_out: cells of the published scale that this scale lacks.
        history: when the recipe was frozen, and what has changed since; None if unknown.
        seeds: seeds that replace the recipe's own; empty if none do.
    """

    recipe: Recipe
    scale: str
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...] = ()
    history: FreezeHistory | None = None
    seeds: tuple[int, ...] = ()

    def __getitem__(self, name: str) -> Cell:
        """Return the cell with that name or number."""
        by_name = {cell.name: cell for cell in self.cells}
        if name.isdigit() and int(name) < len(self.cells):
            return self.cells[int(name)]
        if name not in by_name:
            numbers = f"Or a number from 0 to {len(self.cells) - 1}."
            raise unknown("cell", name, by_name, hint=numbers)
        return by_name[name]

    def matching(self, patterns: list[str]) -> tuple[Cell, ...]:
        """Return the cells that match any of the patterns; all cells if there are no patterns.

        Raises:
            ValueError: a pattern matches no cell.
        """
        names = [cell.name for cell in self.cells]
        for pattern in patterns:
            if not any(matches(pattern, name) for name in names):
                raise unknown("cell", pattern, names, hint="Patterns work as in a shell: 'train/*'.")
        return tuple(cell for cell in self.cells if matches_any(patterns or None, cell.name))

    def measuring(self, patterns: Sequence[str]) -> list[str]:
        """Return the names of the measuring cells that match any of the patterns."""
        measuring = (cell.name for cell in self.cells if cell.options.gives == "result")
        return [name for name in measuring if matches_any(patterns, name)]

    def with_needs(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return these cells and all that they need, in the order of the plan."""
        wanted, waiting = set(), [cell.name for cell in cells]
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += self[name].needs
        return tuple(cell for cell in self.cells if cell.name in wanted)

    def options(self) -> dict[str, Kind]:
        """Return the options of all cells, by name."""
        return {cell.name: cell.options for cell in self.cells}


def planned(recipe: Recipe, scale: str) -> RecipePlan:
    """Check a recipe at one scale, and return its cells.

    Raises:
        RecipeError: an unknown kind, option, network, measure, transform, list, axis or cell.
        ValueError: unknown scale.
    """
    if scale not in recipe.scales:
        raise unknown("scale", scale, recipe.scales)
    published = {} if scale == recipe.published_scale else _all_options(recipe, recipe.published_scale)
    found: dict[str, Cell] = {}
    places: dict[str, Place] = {}
    for number, template in enumerate(recipe.cells):
        place = recipe.place("cells", number)
        for name, table in _expanded(recipe, template, place, scale):
            if name in found:
                raise place.error(f"two cells are called {name!r}: the name must include every axis", "name")
            places[name], options = place, _options(template, table, place)
            changes = _changes(options, published.get(name, options))
            found[name] = Cell(name, template.kind, options, shortened=changes)
    staged = _staged(found, places)
    left_out = tuple(name for name in published if name not in found)
    return RecipePlan(recipe, scale, tuple(sorted(staged, key=lambda cell: cell.stage)), left_out)


def combinations(
    recipe: Recipe, entry: Template | RecipeTable | Claim | Figure, place: Place, **fixed: Any
) -> Iterator[dict[str, Any]]:
    """Yield one dict of axis values per combination, leaving out those in `unless`."""
    axes = recipe.listed(entry.axes, place)
    for values in itertools.product(*axes.values()):
        chosen = {**fixed, **dict(zip(axes, values, strict=True))}
        if not any(_matches(left_out, chosen, place) for left_out in entry.unless):
            yield chosen


def filled(value: Any, chosen: Mapping[str, Any], place: Place) -> Any:
    """Replace `{axis}` in strings by its value; a string that is only `{axis}` becomes the value itself."""
    if isinstance(value, list):
        return [filled(entry, chosen, place) for entry in value]
    if isinstance(value, dict):
        return {key: filled(entry, chosen, place) for key, entry in value.items()}
    if not isinstance(value, str):
        return value
    for axis in _BRACED.findall(value):
        if axis not in chosen:
            raise place.error(str(unknown("axis", axis, chosen)), f'"{value}"')
    whole = _BRACED.fullmatch(value)
    return chosen[whole[1]] if whole else _BRACED.sub(lambda match: str(chosen[match[1]]), value)


def _matches(wanted: Mapping[str, Any], chosen: Mapping[str, Any], place: Place) -> bool:
    for axis in wanted:
        if axis not in chosen:
            raise place.error(str(unknown("axis", axis, chosen)), axis)
    return all(
        chosen[axis] in value if isinstance(value, list) else chosen[axis] == value
        for axis, value in wanted.items()
    )


def _expanded(
    recipe: Recipe, template: Template, place: Place, scale: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, table of options) for each cell of a template."""
    _kind(template, place)
    rules = [place.fill(When, table, what="[[cells.when]]") for table in template.when]
    for chosen in combinations(recipe, template, place, scale=scale):
        table = dict(template.options)
        for rule in rules:
            if _matches(rule.match, chosen, place):
                table |= rule.change
        yield filled(template.name, chosen, place), filled(table, chosen, place)
    offered = {
        axis: recipe.offered[values] if isinstance(values, str) else values
        for axis, values in template.axes.items()
    }
    axes = {**offered, SCALE: list(recipe.scales)}
    for match in [rule.match for rule in rules] + template.unless:
        _refuse_unknown_values(match, axes, place)


def _refuse_unknown_values(match: Mapping[str, Any], axes: Mapping[str, list[Any]], place: Place) -> None:
    """Reject misspelt values, which would match no cell and silently run a different experiment."""
    for axis, wanted in match.items():
        for value in wanted if isinstance(wanted, list) else [wanted]:
            if value not in axes.get(axis, [value]):
                raise place.error(
                    str(unknown(f"value of {axis}", str(value), map(str, axes[axis]))), f'"{value}"'
                )


def _kind(template: Template, place: Place) -> type[Kind]:
    try:
        return KINDS.get(template.kind)
    except ValueError as error:
        raise place.error(str(error), f'"{template.kind}"') from error


def _options(template: Template, table: Mapping[str, Any], place: Place) -> Kind:
    options = place.fill(_kind(template, place), table, what=f"the options of a {template.kind} cell")
    try:
        options.check()
    except (ValueError, TypeError) as error:
        raise place.blame(error) from error
    return options


def _all_options(recipe: Recipe, scale: str) -> dict[str, Kind]:
    return {
        name: _options(template, table, recipe.place("cells", number))
        for number, template in enumerate(recipe.cells)
        for name, table in _expanded(recipe, template, recipe.place("cells", number), scale)
    }


def _changes(options: Kind, published: Kind) -> dict[str, tuple[Any, Any]]:
    pairs = {f.name: (getattr(options, f.name), getattr(published, f.name)) for f in fields(options)}  # type: ignore[arg-type]
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _staged(found: Mapping[str, Cell], places: Mapping[str, Place]) -> list[Cell]:
    """Return the cells with their stages.

    Raises:
        RecipeError: a needed cell does not exist, or cells depend on each other in a cycle.
    """
    stages: dict[str, int] = {}
    while len(stages) < len(found):
        ready = [
            name
            for name, cell in found.items()
            if name not in stages and all(need in stages for need in _known_needs(cell, found, places[name]))
        ]
        if not ready:
            cycle = sorted({need for cell in found.values() for need in cell.needs} - set(stages))
            names = ", ".join(cycle[:4])
            raise places[cycle[0]].error(f"these cells depend on each other in a cycle: {names}")
        stages |= {name: 1 + max((stages[need] for need in found[name].needs), default=-1) for name in ready}
    return [replace(cell, stage=stages[cell.name]) for cell in found.values()]


def _known_needs(cell: Cell, found: Mapping[str, Cell], place: Place) -> tuple[str, ...]:
    for need in cell.needs:
        if need not in found or found[need].options.gives != "network":
            trained = [name for name, other in found.items() if other.options.gives == "network"]
            near = ", ".join(map(repr, closest(need, trained))) or "none"
            message = f"{cell.name} needs {need!r}, which is not a training cell. Closest: {near}."
            raise place.error(message, f'"{need}"')
    return cell.needs
