"""A recipe: what a TOML file declares, read and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.common.registry import unknown
from invariscope.recipes.text import Place, RecipeError, Text, unknown_key

FOLDER = Path(__file__).parent
SHARED = FOLDER / "shared"
PUBLISHED = "paper"

Axes = dict[str, list[Any] | str]


@dataclass(frozen=True, kw_only=True)
class When:
    """Changes of options where the axes have certain values; `scale` is an axis too.

    Args:
        match: axis to value, or to a list of values any of which will do; the key is `is`.
        change: option to value; the key is `set`.
    """

    match: dict[str, Any]
    change: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """Cells that differ in the values of some axes.

    Args:
        kind: "train" or "measure".
        name: of a cell, with `{axis}` for an axis' value.
        axes: axis to its values, or to the name of a list under `[lists]`; the key is `for`.
        unless: combinations that are left out.
        options: of that kind; texts may hold `{axis}`. An option that is just that takes the value itself.
        when: changes, each on top of those before.
    """

    kind: str
    name: str
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    when: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of our numbers beside the published ones.

    Args:
        title, about: what it shows.
        axes, unless: its rows; the key is `for`.
        value: a quantity: its name under `quantity`, and its arguments.
        published: numbers by the values of the axes, nested in their order.
    """

    title: str
    value: dict[str, Any]
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    about: str = ""
    published: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published sentence, and the number that decides on it.

    Args:
        text: the sentence.
        about: how it is tested.
        axes, unless: the cases; the key is `for`. The claim is confirmed if it holds in all of them.
        value, minus: a quantity, or the difference of two.
        holds: a comparison with a number, such as "< 0".
        untested: why it is listed without a test.
    """

    text: str
    about: str = ""
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    value: dict[str, Any] = field(default_factory=dict)
    minus: dict[str, Any] = field(default_factory=dict)
    holds: str = "< 0"
    untested: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of measured cells.

    Args:
        title, about: its heading and caption.
        plot: a name of `invariscope list plots`.
        cells: patterns of the cells that it shows; texts may hold `{axis}`.
        axes, unless: one figure for each combination; the key is `for`.
        options: keyword options of that plot.
        format: of the file: "png" or "svg".
    """

    title: str
    plot: str
    cells: list[str]
    about: str = ""
    axes: Axes = field(default_factory=dict)
    unless: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    format: str = "png"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published experiment, declared.

    Args:
        title, source, about: what it is and where it was published.
        include: names of files in `shared/`, whose lists and cells come before the recipe's own; lists of the
            same name are the recipe's.
        scales: name to description; the first is the published one, the others shorten it.
        lists: values that several axes share.
        cells, tables, claims, figures: what is run, and what is made of it.
    """

    title: str
    source: str
    about: str = ""
    include: list[str] = field(default_factory=list)
    scales: dict[str, str] = field(default_factory=lambda: {PUBLISHED: "as published"})
    lists: dict[str, list[Any]] = field(default_factory=dict)
    cells: list[Any]
    tables: list[Any] = field(default_factory=list)
    claims: list[Any] = field(default_factory=list)
    figures: list[Any] = field(default_factory=list)
    text: Text = field(default=Text("", ""), repr=False)
    places: dict[str, list[Place]] = field(default_factory=dict, repr=False)

    def place(self, section: str, number: int) -> Place:
        """Where the entry of that number stands: in the recipe's file, or in one that it includes."""
        return self.places[section][number] if self.places else Place(self.text, section, number)

    @property
    def published_scale(self) -> str:
        """The scale that shortens nothing."""
        return next(iter(self.scales))

    def axes(self, entry: Template | Table | Claim | Figure, place: Place) -> dict[str, list[Any]]:
        """The entry's axes with the values of named lists.

        Raises:
            RecipeError: no such list.
        """
        found = {}
        for axis, values in entry.axes.items():
            if isinstance(values, str):
                if values not in self.lists:
                    raise place.error(str(unknown("list", values, self.lists)), f'"{values}"')
                values = self.lists[values]
            found[axis] = values
        return found


_SECTIONS = {"cells": Template, "tables": Table, "claims": Claim, "figures": Figure}
_SHAREABLE = ("lists", "cells", "floors")


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """The file of a recipe of the package, or a file of the user's own.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: no recipe of that name.
    """
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"no file {name}")
        return Path(name)
    if name not in names():
        raise unknown(
            "recipe", name, names(), hint="`invariscope list recipes` shows all; or give a .toml file."
        )
    return FOLDER / f"{name}.toml"


def read(name: str) -> Recipe:
    """The recipe of that name, or in that file.

    Raises:
        RecipeError: something in it is wrong; the message says in which line.
        FileNotFoundError, ValueError: as `find`.
    """
    text = Text.read(find(name))
    tables = text.parsed()
    _refuse_unknown(
        text, tables, [key for key in Recipe.__dataclass_fields__ if key not in ("text", "places")]
    )
    parts = [*(_shared(text, part) for part in tables.get("include", [])), (text, tables)]
    sections: dict[str, list[Any]] = {section: [] for section in _SECTIONS}
    places: dict[str, list[Place]] = {section: [] for section in _SECTIONS}
    lists: dict[str, list[Any]] = {}
    for where, part in parts:
        lists |= part.get("lists", {})
        for section, cls in _SECTIONS.items():
            for place, entry in _entries(where, section, cls, part):
                sections[section].append(entry)
                places[section].append(place)
    found = {**tables, **sections, "lists": lists, "text": text, "places": places}
    recipe = Place(text, "").fill(Recipe, found, what="a recipe")
    if not recipe.scales:
        raise text.error("a recipe has at least one scale", "scales")
    return recipe


def _shared(text: Text, name: str) -> tuple[Text, dict[str, Any]]:
    """An included file and its tables."""
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
        raise RecipeError(f"{text.name}: {section} are written [[{section}]], once for each")
    for number, table in enumerate(entries):
        place = Place(text, section, number)
        yield place, place.fill(cls, table)
