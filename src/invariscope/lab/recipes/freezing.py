"""Freeze recipes before their cells are run: `python -m invariscope.lab.recipes.freezing NAME...`.

Records the time and the hashes of each recipe and of its claims in `frozen.json`. Pages show the date, and
mark claims that were changed later and results that were finished before their claim was frozen.
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
    """Freeze each recipe that differs from its last freeze, and return the new hashes by name.

    Args:
        chosen: recipes of the package.
        path: the file of freezes.
        now: time of the freeze; None: the current time.
    Raises:
        ValueError: a recipe is unknown, or contains an error.
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
    """Freeze the recipes named on the command line."""
    if not arguments:
        raise SystemExit(
            f"usage: python -m invariscope.lab.recipes.freezing NAME...; recipes: {', '.join(names())}"
        )
    added = freeze(arguments)
    for name in arguments:
        state = f"frozen, hash {added[name]}" if name in added else "already frozen in this form"
        sys.stdout.write(f"{name}: {state}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
