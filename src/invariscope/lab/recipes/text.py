"""Strict reading of TOML tables into dataclasses, with errors that point at the line."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from typing import Any, TypeVar

from invariscope.common.reading import read_text, read_toml
from invariscope.common.registry import closest

T = TypeVar("T")

_MOST_BYTES = 1 << 20

_HEADER = re.compile(r"\s*\[+\s*([\w.\-]+)\s*\]+")
# TOML keys that cannot, or should not, be names of Python fields.
_RENAMED = {"for": "axes", "is": "match", "set": "change"}


class RecipeError(ValueError):
    """An error in a recipe; the message starts with the file and the line."""


@dataclass(frozen=True)
class Text:
    """The name and the text of a recipe file, for error messages that point at a line."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Text:
        """Read a file.

        Raises:
            FileNotFoundError: no such file.
            RecipeError: not a regular file, larger than 1 MiB, or not UTF-8 text.
        """
        try:
            return cls(path.name, read_text(path, _MOST_BYTES))
        except ValueError as error:
            raise RecipeError(str(error)) from error

    def parsed(self) -> dict[str, Any]:
        """Parse the text and return its tables.

        Raises:
            RecipeError: invalid TOML, or tables nested too deeply; tomllib's message gives the line.
        """
        try:
            return read_toml(self.text)
        except ValueError as error:
            raise RecipeError(f"{self.name}: {error}") from error

    def line(self, word: str, section: str = "", number: int = 0) -> int:
        """Return the line of `word` within the `number`-th entry of a section such as "cells"; 0 if absent.

        A word in double quotes is searched for everywhere, a bare word only outside strings and comments.
        """
        pattern = re.compile(rf"(?<![\w\-]){re.escape(word.strip(chr(34)))}(?![\w\-])", re.IGNORECASE)
        return next((n for n, line in self._lines(section, number) if pattern.search(_bare(line, word))), 0)

    def line_of_value(self, name: str, value: str, section: str, number: int) -> int:
        """Return the line of `name = value` within an entry, with or without quotes; 0 if absent."""
        pattern = re.compile(rf"""(?<![\w\-]){re.escape(name)}\s*=\s*["']?{re.escape(value)}(?![\w.])""")
        return next((n for n, line in self._lines(section, number) if pattern.search(line)), 0)

    def _lines(self, section: str, number: int) -> Iterable[tuple[int, str]]:
        entry, inside = -1, not section
        for n, line in enumerate(self.text.splitlines(), start=1):
            header = _HEADER.match(line)
            if header and section:
                name = header[1].strip()
                entry += name == section
                inside = entry == number and name.split(".")[0] == section
            if inside:
                yield n, line

    def error(self, message: str, word: str = "", section: str = "", number: int = 0) -> RecipeError:
        """Return an error that points at `word`, or at the section's entry if the word is not found."""
        line = self.line(word, section, number) if word else 0
        line = line or (self.line(section, section, number) if section else 0)
        return RecipeError(f"{self.name}, line {line}: {message}" if line else f"{self.name}: {message}")


def _bare(line: str, word: str) -> str:
    """Return the line without strings and comments, where bare words must not be found."""
    return line if word.startswith('"') else re.sub(r""""[^"]*"|'[^']*'|#.*""", "", line)


@dataclass(frozen=True)
class Place:
    """An entry of a recipe: the text, the section's name, and the number of the entry in that section."""

    text: Text
    section: str
    number: int = 0

    def error(self, message: str, word: str = "") -> RecipeError:
        """Return an error that points at `word` within this entry."""
        return self.text.error(message, word, self.section, self.number)

    def blame(self, error: Exception) -> RecipeError:
        """Return an error that points at the cause of `error`, in this entry or else in a shared list.

        The cause is the first of these that occurs in the recipe: a word in the notes of `error`, an option
        whose value the message repeats ("epochs=-1"), or the first word that the message quotes.
        """
        message, notes = str(error), list(getattr(error, "__notes__", ()))
        here = (self.section, self.number)
        given = re.findall(r"(\w+)=([^\s,;]+)", message)
        quoted = re.findall(r"'([^']+)'", message)[:1]
        words = [spelled for word in [*notes, *quoted] for spelled in (f'"{word}"', word)]
        found = [self.text.line(word, *here) for word in words[: 2 * len(notes)]]
        found += [self.text.line_of_value(name, value.strip("'\""), *here) for name, value in given]
        found += [self.text.line(word, *here) for word in words[2 * len(notes) :]]
        found += [self.text.line(f'"{word}"') for word in [*notes, *quoted]]
        line = next(filter(None, found), 0)
        return RecipeError(f"{self.text.name}, line {line}: {message}") if line else self.error(message)

    def fill(self, cls: type[T], table: Mapping[str, Any], *, what: str = "") -> T:
        """Return a dataclass from a table whose keys are the names of the fields.

        Raises:
            RecipeError: not a table, or unknown, missing or ill-typed keys.
        """
        what = what or f"[[{self.section}]]"
        if not isinstance(table, Mapping):
            raise self.error(f"{what} must be a table with keys, got {table!r}")
        known = {_spelled(f.name): f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
        for key in table:
            if key not in known:
                raise self.error(unknown_key(key, known, what), key)
        types_ = _type_hints(cls)
        missing = [key for key, f in known.items() if key not in table and default_of(f) is MISSING]
        if missing:
            raise self.error(f"{what} lacks {', '.join(missing)}")
        for key, value in table.items():
            if not _fits(value, types_[known[key].name]):
                wanted = str(known[key].type).replace(" | None", "")
                raise self.error(f"{key} of {what} must be {wanted}, got {value!r}", key)
        return cls(**{known[key].name: value for key, value in table.items()})


def unknown_key(key: str, known: Iterable[str], what: str) -> str:
    """Return the message for an unknown key, with the closest known ones."""
    near = closest(key, known) or sorted(known)
    return f"unknown key {key!r} in {what}. Closest: {', '.join(map(repr, near))}."


def _spelled(field: str) -> str:
    return next((key for key, name in _RENAMED.items() if name == field), field)


@functools.cache
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def default_of(field: Field[Any]) -> Any:
    """Return the default of a dataclass field; MISSING, which equals no value, if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _fits(value: Any, wanted: Any) -> bool:
    """Return whether a TOML value has an annotated type; integers are valid floats."""
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inside)
    if origin is typing.Literal:
        return value in inside
    if origin is list:
        return isinstance(value, list) and all(_fits(entry, inside[0]) for entry in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(entry, inside[1]) for entry in value.values())
    if wanted is Any:
        return True
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
