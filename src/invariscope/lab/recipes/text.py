"""Where in a TOML file something stands, and tables read into dataclasses without letting anything pass."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from invariscope.common.registry import closest

T = TypeVar("T")

_HEADER = re.compile(r"\s*\[+\s*([\w.\-]+)\s*\]+")
# What a field may be called in TOML though Python does not allow it.
_RENAMED = {"for": "axes", "is": "match", "set": "change"}


class RecipeError(ValueError):
    """Something in a recipe is wrong; the message starts with the file and the line."""


@dataclass(frozen=True)
class Text:
    """A recipe's file name and text, for messages that point into it."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Text:
        """The file's text.

        Raises:
            RecipeError: no text.
        """
        try:
            return cls(path.name, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is no text in UTF-8 ({error})") from error

    def parsed(self) -> dict[str, Any]:
        """The tables.

        Raises:
            RecipeError: no TOML; tomllib's message holds the line.
        """
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{self.name}: {error}") from error

    def line(self, word: str, section: str = "", number: int = 0) -> int:
        """The line where `word` stands, within the `number`-th entry of a section such as "cells".

        In double quotes it is looked for anywhere, without them as a key; 0 where it is not found.
        """
        pattern = re.compile(rf"(?<![\w\-]){re.escape(word.strip(chr(34)))}(?![\w\-])", re.IGNORECASE)
        lines = [n for n, line in self._lines(section, number) if pattern.search(_bare(line, word))]
        return lines[0] if lines else 0

    def line_of_value(self, name: str, value: str, section: str, number: int) -> int:
        """The line where `name = value` stands within an entry, quotes or none; 0 where it is not found."""
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
        """An error that points at `word`, or at the section's entry where the word is not found."""
        line = self.line(word, section, number) if word else 0
        line = line or (self.line(section, section, number) if section else 0)
        return RecipeError(f"{self.name}, line {line}: {message}" if line else f"{self.name}: {message}")


def _bare(line: str, word: str) -> str:
    """Keys are not looked for inside texts and comments."""
    return line if word.startswith('"') else re.sub(r""""[^"]*"|'[^']*'|#.*""", "", line)


@dataclass(frozen=True)
class Place:
    """An entry of a recipe: its text, the section's name, and which of that section's entries it is."""

    text: Text
    section: str
    number: int = 0

    def error(self, message: str, word: str = "") -> RecipeError:
        """An error that points at `word` within this entry."""
        return self.text.error(message, word, self.section, self.number)

    def blame(self, error: Exception) -> RecipeError:
        """The error, pointing at what it is about: in this entry, or else in a shared list.

        That is what its notes say, or an option with the value that its message repeats ("epochs=-1"), or
        what the message quotes first.
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
        """A dataclass from a table; field names are the keys.

        Raises:
            RecipeError: a table of another kind, unknown, missing or ill-typed keys.
        """
        what = what or f"[[{self.section}]]"
        if not isinstance(table, Mapping):
            raise self.error(f"{what} is a table with keys, got {table!r}")
        known = {_spelled(f.name): f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
        for key in table:
            if key not in known:
                raise self.error(unknown_key(key, known, what), key)
        types_ = typing.get_type_hints(cls)
        missing = [key for key, field in known.items() if key not in table and _required(field)]
        if missing:
            raise self.error(f"{what} lacks {', '.join(missing)}")
        for key, value in table.items():
            if not _fits(value, types_[known[key].name]):
                wanted = str(known[key].type).replace(" | None", "")
                raise self.error(f"{key} of {what} must be {wanted}, got {value!r}", key)
        return cls(**{known[key].name: value for key, value in table.items()})


def unknown_key(key: str, known: Iterable[str], what: str) -> str:
    """The message for a key that nothing reads, with the closest that something does."""
    near = closest(key, known) or sorted(known)
    return f"unknown key {key!r} in {what}. Closest: {', '.join(map(repr, near))}."


def _spelled(field: str) -> str:
    return next((key for key, name in _RENAMED.items() if name == field), field)


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a TOML value is of an annotated type; whole numbers are fine where floats are wanted."""
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
