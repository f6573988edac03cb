"""The freezes of a recipe, stored in `frozen.json`, and what has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invariscope.common.reading import read_json
from invariscope.lab.recipes.recipe import FOLDER, Claim, Recipe
from invariscope.lab.recipes.text import default_of

FROZEN = FOLDER / "frozen.json"
_PROSE = "about"


@dataclass(frozen=True)
class Freeze:
    """A recipe at the time it was frozen.

    Args:
        date: time of the freeze, in UTC.
        recipe: hash of the whole recipe.
        claims: hash of each claim, by its text.
    """

    date: datetime
    recipe: str
    claims: Mapping[str, str]


@dataclass(frozen=True)
class FreezeHistory:
    """The current hashes of a recipe, and its freezes.

    Args:
        recipe, claims: the current hashes.
        freezes: all freezes, earliest first; empty for a recipe that was never frozen.
    """

    recipe: str
    claims: Mapping[str, str]
    freezes: tuple[Freeze, ...] = ()

    @property
    def words(self) -> str:
        """When the recipe was frozen, and whether it has changed since."""
        if not self.freezes:
            return f"not frozen (hash {self.recipe}): claims may have been written after results were seen"
        first, last = self.freezes[0], self.freezes[-1]
        text = f"frozen {_minute(first.date)}, hash {first.recipe}"
        if last is not first:
            kept = " (same claims)" if dict(last.claims) == dict(first.claims) else ""
            text += f"; changed{kept}, and frozen again {_minute(last.date)}, hash {last.recipe}"
        if last.recipe != self.recipe:
            text += f"; changed since, not frozen (hash {self.recipe})"
        return text

    def since(self, claim: str) -> datetime | None:
        """Return when the claim was first frozen in its present form; None if it is not frozen."""
        found = None
        for freeze in reversed(self.freezes):
            if freeze.claims.get(claim) != self.claims[claim]:
                break
            found = freeze.date
        return found

    def changed(self, claim: str) -> str:
        """Return how the claim differs from the first freeze, "changed 2026-12-03"; empty if it does not."""
        since = self.since(claim)
        if not self.freezes or since == self.freezes[0].date:
            return ""
        word = "changed" if any(claim in freeze.claims for freeze in self.freezes[:-1]) else "added"
        if since is None:
            word = "changed" if any(claim in freeze.claims for freeze in self.freezes) else "added"
            return f"{word} since the last freeze"
        return f"{word} {since:%Y-%m-%d}"

    def seen_before(self, claim: str, finished: datetime | None) -> bool:
        """Return whether a result was finished before the claim was frozen in its present form.

        False for a recipe that was never frozen: its page states that once.
        """
        if not self.freezes or finished is None:
            return False
        since = self.since(claim)
        return since is None or finished < since


def history(name: str, recipe: Recipe, path: Path = FROZEN) -> FreezeHistory:
    """Return the history of a recipe; only recipes of the package have freezes."""
    freezes = () if name.endswith(".toml") else tuple(map(_freeze, read_frozen(path).get(name, [])))
    return FreezeHistory(recipe_hash(recipe), claim_hashes(recipe), freezes)


def read_frozen(path: Path = FROZEN) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of the file: all freezes, by the name of the recipe."""
    return read_json(path)


def recipe_hash(recipe: Recipe) -> str:
    """Return the first 16 hex digits of the SHA-256 of a recipe, without `about` and descriptions of scales.

    Keys with their default values do not count, so a new option of recipes does not change any hash.
    """
    return _digest({**_declared(recipe), "scales": list(recipe.scales)})


def claim_hashes(recipe: Recipe) -> dict[str, str]:
    """Return the hash of each claim by its text; the values of named lists count, `about` does not."""
    return {
        claim.text: _digest(_declared_claim(recipe, claim, number))
        for number, claim in enumerate(recipe.claims)
    }


def _declared_claim(recipe: Recipe, claim: Claim, number: int) -> dict[str, Any]:
    place = recipe.place("claims", number)
    lists = {name: recipe.listed(getattr(claim, name), place) for name in ("axes", "trainings")}
    return {**_declared(claim), **{name: values for name, values in lists.items() if values}}


def _declared(value: Any) -> Any:
    """Return the declarations as plain values, without prose, defaults and fields with `repr=False`."""
    if isinstance(value, list):
        return [_declared(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _declared(entry) for key, entry in value.items()}
    if not is_dataclass(value):
        return value
    own = [(f, getattr(value, f.name)) for f in fields(value) if f.repr and f.name != _PROSE]
    return {f.name: _declared(entry) for f, entry in own if entry != default_of(f)}


def _digest(declared: Any) -> str:
    text = json.dumps(declared, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _freeze(entry: Mapping[str, Any]) -> Freeze:
    return Freeze(datetime.fromisoformat(entry["date"]), entry["recipe"], entry["claims"])


def _minute(date: datetime) -> str:
    return f"{date.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
