"""A recipe: the declarations of a TOML file, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from invariscope.common.registry import unknown
from invariscope.lab.recipes.text import Place, RecipeError, Text, unknown_key

FOLDER = Path(__file__).parent
SHARED = FOLDER / "shared"
PUBLISHED = "paper"
SEEDS = "seeds"

Axes = dict[str, list[Any] | str]


@dataclass(frozen=True, kw_only=True)
class When:
    """Changes to options for certain axis values; `scale` is an axis too.

    Args:
        match: for each axis, a value or a list of alternatives; the TOML key is `is`.
        change: new value of each option; the TOML key is `set`.
    """

    match: dict[str, Any]
    change: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """Cells that differ in the values of some axes.

    Args:
        kind: kind of the cells, such as "train" or "measure".
        name: name of a cell, with `{axis}` for the value of an axis.
        axes: for each axis, its values or the name of a list under `[lists]`; the TOML key is `for`.
        unless: combinations to leave out.
        options: options of the kind; strings may contain `{axis}`. A string that is only `{axis}` becomes
            the value itself.
        when: changes to options, applied in order.
    """

    kind: str
    name: str
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    when: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RecipeTable:
    """A table of our numbers beside the published ones.

    Args:
        title, about: heading and description.
        axes, unless: the rows; the TOML key of `axes` is `for`.
        value: a quantity, as its name under `quantity` and its arguments.
        trainings: axes over which the values of a row are combined, such as seeds.
        published: published numbers by axis value, nested in the order of the axes.
        against: an axis of numbers, against which the values are drawn as curves above the table.
        axis: title of that axis in the figure; by default its name.
    """

    title: str
    value: dict[str, Any]
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    trainings: Axes = field(default_factory=dict)
    about: str = ""
    published: dict[str, Any] = field(default_factory=dict)
    against: str = ""
    axis: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim, and the number that decides it.

    Args:
        text: the claim, as a sentence.
        about: how it is tested.
        axes, unless: the cases; the TOML key of `axes` is `for`. The claim is confirmed if it holds in every
            case.
        trainings: axes over which the values of a case are combined, such as seeds.
        value, minus: a quantity, or the difference of two.
        holds: "< 0", "> 1", "0.5 ± 0.1" (between) or "not 0 ± 0.05" (outside).
        why: the reason for a margin, or for a bound that is neither 0 nor 1, written before the results.
        untested: why the claim is listed without a test.
    """

    text: str
    about: str = ""
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    trainings: Axes = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)
    minus: dict[str, Any] = field(default_factory=dict)
    holds: str = "< 0"
    why: str = ""
    untested: str = ""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The accuracy below which a trained network does not count as evidence for or against a claim.

    Args:
        cells: patterns of the training cells; if several floors match a cell, the last one counts.
        published: their published accuracy on the unchanged test images; the floor is `share` of it.
        share: fraction of the published accuracy.
        least: the floor itself, if nothing is published.
        why: the reason for `least`.
    """

    cells: list[str]
    published: float | None = None
    share: float = 0.9
    least: float | None = None
    why: str = ""

    @property
    def bound(self) -> float:
        """The lowest sufficient accuracy."""
        if self.published is not None:
            return self.share * self.published
        assert self.least is not None, "loading a recipe rejects floors with neither `published` nor `least`"
        return self.least


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of measured cells.

    Args:
        title, about: heading and caption.
        plot: a name from `invariscope list plots`.
        cells: patterns of the cells shown, in this order; strings may contain `{axis}`.
        axes, unless: one figure is drawn per combination; the TOML key of `axes` is `for`.
        panels: one panel of the figure is drawn per combination; strings may contain these axes too.
        panel: title of each panel, such as "{data}"; by default, the values of its axes.
        trainings: axes over which results are averaged, such as seeds; each must be a whole part of the names
            of the cells, as in "stability/vgg11/{seed}".
        fewest: smallest number of finished results, or averages of them, in a panel; 2 for a comparison.
        options: keyword options of the plot.
        format: file format, "svg", or "png" for images and for charts with thousands of marks.
    """

    title: str
    plot: str
    cells: list[str]
    about: str = ""
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    panels: Axes = field(default_factory=dict)
    panel: str = ""
    trainings: Axes = field(default_factory=dict)
    fewest: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    format: str = "svg"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The declaration of a published experiment.

    Args:
        title, source, about: heading, publication and description.
        include: names of files in `shared/`, whose lists, cells and floors come before the recipe's own; a
            list of the recipe replaces an included one of the same name.
        scales: description of each scale, by name; the first is the published one, the others shorten it.
        lists: named lists of values that several axes share.
        offered: for each list, by name, all values from the recipe and from included files. Included cells
            may have rules for values that the recipe's own list leaves out.
        floors: the accuracies that trained networks must reach.
        cells: templates of the cells to run.
        tables, claims, figures: the contents of the page.
        text, places: the file, and the place of each entry, for error messages.
    """

    title: str
    source: str
    about: str = ""
    include: list[str] = field(default_factory=list)
    scales: dict[str, str] = field(default_factory=lambda: {PUBLISHED: "as published"})
    lists: dict[str, list[Any]] = field(default_factory=dict)
    offered: dict[str, list[Any]] = field(default_factory=dict, repr=False)
    cells: list[Any]
    floors: list[Any] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    claims: list[Any] = field(default_factory=list)
    figures: list[Any] = field(default_factory=list)
    text: Text = field(default=Text("", ""), repr=False)
    places: dict[str, list[Place]] = field(default_factory=dict, repr=False)

    def place(self, section: str, number: int) -> Place:
        """Return the place of an entry, in the recipe's file or in an included one."""
        return self.places[section][number] if self.places else Place(self.text, section, number)

    @property
    def published_scale(self) -> str:
        """The published scale, which shortens nothing."""
        return next(iter(self.scales))

    @property
    def narrowed(self) -> bool:
        """Whether a list leaves out values from an included file, and thereby some of its cells."""
        return any(value not in self.lists[name] for name, values in self.offered.items() for value in values)

    def listed(self, axes: Axes, place: Place) -> dict[str, list[Any]]:
        """Return axes with the names of lists replaced by their values.

        Raises:
            RecipeError: unknown list.
        """
        found = {}
        for axis, values in axes.items():
            if isinstance(values, str):
                if values not in self.lists:
                    raise place.error(str(unknown("list", values, self.lists)), f'"{values}"')
                values = self.lists[values]
            found[axis] = values
        return found

    def with_seeds(self, seeds: list[int]) -> Recipe:
        """Return the recipe with these seeds under `lists.seeds`.

        Raises:
            ValueError: the recipe has no such list, no seeds are given, or one is repeated.
        """
        if SEEDS not in self.lists:
            raise ValueError(f"{self.text.name} has no list {SEEDS!r}, so its seeds cannot be replaced")
        if len(set(seeds)) < len(seeds) or not seeds:
            raise ValueError(f"seeds must be distinct integers, got {', '.join(map(str, seeds)) or 'none'}")
        return replace(self, lists={**self.lists, SEEDS: list(seeds)})


_SECTIONS = {"cells": Template, "floors": Floor, "tables": RecipeTable, "claims": Claim, "figures": Figure}
_DERIVED = ("offered", "text", "places")
_SHAREABLE = ("lists", "cells", "floors")


def names() -> list[str]:
    """Return the names of the recipes in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """Return the file of a recipe: one of the package by its name, or a .toml file by its path.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: unknown recipe.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"{name} does not exist")
        return Path(name)
    if name not in names():
        raise unknown(
            "recipe", name, names(), hint="`invariscope list recipes` shows all; a .toml file works too."
        )
    return FOLDER / f"{name}.toml"


def read(name: str) -> Recipe:
    """Read the recipe with that name, or in that file.

    Raises:
        RecipeError: an error in the recipe; the message points at the line.
        FileNotFoundError, ValueError: as for `find`.
    """
    text = Text.read(find(name))
    tables = text.parsed()
    _refuse_unknown(text, tables, [key for key in Recipe.__dataclass_fields__ if key not in _DERIVED])
    parts = [*(_shared(text, part) for part in tables.get("include", [])), (text, tables)]
    sections: dict[str, list[Any]] = {section: [] for section in _SECTIONS}
    places: dict[str, list[Place]] = {section: [] for section in _SECTIONS}
    lists: dict[str, list[Any]] = {}
    offered: dict[str, list[Any]] = {}
    for where, part in parts:
        lists |= part.get("lists", {})
        offered |= {name: offered.get(name, []) + values for name, values in part.get("lists", {}).items()}
        for section, cls in _SECTIONS.items():
            for place, entry in _entries(where, section, cls, part):
                sections[section].append(entry)
                places[section].append(place)
    found = {**tables, **sections, "lists": lists, "offered": offered, "text": text, "places": places}
    recipe = Place(text, "").fill(Recipe, found, what="a recipe")
    if not recipe.scales:
        raise text.error("a recipe needs at least one scale", "scales")
    return recipe


def _shared(text: Text, name: str) -> tuple[Text, dict[str, Any]]:
    """Return an included file and its tables."""
    known = sorted(path.stem for path in SHARED.glob("*.toml"))
    if name not in known:
        raise text.error(str(unknown("file to include", str(name), known)), "include")
    part = Text.read(SHARED / f"{name}.toml")
    tables = part.parsed()
    _refuse_unknown(part, tables, list(_SHAREABLE))
    return part, tables


def _refuse_unknown(text: Text, tables: Mapping[str, Any], known: list[str]) -> None:
    for key in tables:
        if key not in known:
            raise text.error(unknown_key(key, known, "a recipe"), key)


def _entries(text: Text, section: str, cls: type, tables: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    entries = tables.get(section, [])
    if not isinstance(entries, list):
        raise RecipeError(f"{text.name}: write each of the {section} as an entry [[{section}]]")
    for number, table in enumerate(entries):
        place = Place(text, section, number)
        yield place, place.fill(cls, table)
