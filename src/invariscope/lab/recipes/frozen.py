"""What a recipe said when it was frozen, and what has changed since: `frozen.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from invariscope.lab.recipes.recipe import FOLDER, Claim, Recipe

FROZEN = FOLDER / "frozen.json"
_PROSE = "about"


@dataclass(frozen=True)
class Freeze:
    """A recipe as it was at some time.

    Args:
        date: in UTC.
        recipe: the hash of all that it said.
        claims: the hash of each claim, by its text.
    """

    date: datetime
    recipe: str
    claims: Mapping[str, str]


@dataclass(frozen=True)
class FreezeHistory:
    """What a recipe says now beside what it said when it was frozen.

    Args:
        recipe, claims: hashes as they are now.
        freezes: the earliest first; none for a recipe that was never frozen.
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
            text += f"; changed, and frozen again {_minute(last.date)}, hash {last.recipe}"
        return (
            text if last.recipe == self.recipe else f"{text}; changed since, not frozen (hash {self.recipe})"
        )

    def since(self, claim: str) -> datetime | None:
        """Since when the claim has been frozen as it is now; None if it is not."""
        found = None
        for freeze in reversed(self.freezes):
            if freeze.claims.get(claim) != self.claims[claim]:
                break
            found = freeze.date
        return found

    def changed(self, claim: str) -> str:
        """How the claim differs from the first freeze: "changed 2026-12-03"; empty if it does not."""
        since = self.since(claim)
        if not self.freezes or since == self.freezes[0].date:
            return ""
        word = "changed" if any(claim in freeze.claims for freeze in self.freezes[:-1]) else "added"
        if since is None:
            word = "changed" if any(claim in freeze.claims for freeze in self.freezes) else "added"
            return f"{word} since the last freeze"
        return f"{word} {since:%Y-%m-%d}"

    def seen_before(self, claim: str, finished: datetime | None) -> bool:
        """Whether a result was finished before the claim was frozen as it is now.

        False for a recipe that was never frozen: its page says so once.
        """
        if not self.freezes or finished is None:
            return False
        since = self.since(claim)
        return since is None or finished < since


def history(name: str, recipe: Recipe, path: Path = FROZEN) -> FreezeHistory:
    """The history of a recipe of the package; a file of the user's own has no freezes."""
    freezes = () if name.endswith(".toml") else tuple(map(_freeze, read_frozen(path).get(name, [])))
    return FreezeHistory(recipe_hash(recipe), claim_hashes(recipe), freezes)


def read_frozen(path: Path = FROZEN) -> dict[str, list[dict[str, Any]]]:
    """All freezes by the recipe's name, as the file holds them."""
    return json.loads(path.read_text(encoding="utf-8"))


def recipe_hash(recipe: Recipe) -> str:
    """First 16 hex digits of the SHA-256 of what the recipe says, but for `about` and prose on scales.

    Keys with their default values do not count, so a new option of recipes leaves hashes as they are.
    """
    return _digest({**_said(recipe), "scales": list(recipe.scales)})


def claim_hashes(recipe: Recipe) -> dict[str, str]:
    """The hash of each claim by its text; the values of named lists count, `about` does not."""
    found = {}
    for number, claim in enumerate(recipe.claims):
        found[claim.text] = _digest(_claim(recipe, claim, number))
    return found


def _claim(recipe: Recipe, claim: Claim, number: int) -> dict[str, Any]:
    place = recipe.place("claims", number)
    lists = {name: recipe.listed(getattr(claim, name), place) for name in ("axes", "trainings")}
    return {**_said(claim), **{name: values for name, values in lists.items() if values}}


def _said(value: Any) -> Any:
    """Plain values, without prose, defaults and what is not part of the file (fields without `repr`)."""
    if isinstance(value, list):
        return [_said(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _said(entry) for key, entry in value.items()}
    if not is_dataclass(value):
        return value
    own = {f.name: getattr(value, f.name) for f in fields(value) if f.repr and f.name != _PROSE}
    usual = {
        f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(value)
    }
    return {name: _said(entry) for name, entry in own.items() if entry != usual[name]}


def _digest(said: Any) -> str:
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _freeze(entry: Mapping[str, Any]) -> Freeze:
    return Freeze(datetime.fromisoformat(entry["date"]), entry["recipe"], entry["claims"])


def _minute(date: datetime) -> str:
    return f"{date.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
