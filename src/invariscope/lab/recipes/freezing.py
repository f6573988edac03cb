"""Freezes recipes: `python -m invariscope.lab.recipes.freezing NAME...`, before their cells are run.

Records the hash of each recipe and of each of its claims with the time in `frozen.json`. Pages show the date,
and mark claims that were changed later and results that were finished before their claim was frozen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from invariscope.common.registry import unknown
from invariscope.lab.recipes import load
from invariscope.lab.recipes.frozen import FROZEN, claim_hashes, read_frozen, recipe_hash
from invariscope.lab.recipes.recipe import names, read


def freeze(chosen: Sequence[str], *, path: Path = FROZEN, now: datetime | None = None) -> dict[str, str]:
    """Adds a freeze of each recipe that differs from its last one; returns the new hashes by name.

    Args:
        chosen: recipes of the package.
        path: the file of freezes.
        now: the time; None: that of the clock.
    Raises:
        ValueError: no such recipe, or something is wrong in it.
    """
    known, added = read_frozen(path), {}
    date = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    for name in chosen:
        if name not in names():
            raise unknown("recipe", name, names())
        load(name)  # a recipe that cannot be run is not frozen
        recipe, freezes = read(name), known.setdefault(name, [])
        digest = recipe_hash(recipe)
        if not freezes or freezes[-1]["recipe"] != digest:
            freezes.append({"date": date, "recipe": digest, "claims": claim_hashes(recipe)})
            added[name] = digest
    text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return added


def main(arguments: Sequence[str]) -> None:
    """The command."""
    if not arguments:
        raise SystemExit(
            f"usage: python -m invariscope.lab.recipes.freezing NAME...; recipes: {', '.join(names())}"
        )
    added = freeze(arguments)
    for name in arguments:
        said = f"frozen, hash {added[name]}" if name in added else "already frozen as it is"
        sys.stdout.write(f"{name}: {said}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
