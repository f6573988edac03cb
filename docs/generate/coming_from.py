"""Tables of the numbers that other packages and Invariscope gave, from benchmarks/results/coming_from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "coming_from"
_MARK = re.compile(r"<!-- numbers: (\w+) (\w+) -->")


def with_numbers(markdown: str) -> str:
    """Replace every mark `<!-- numbers: FILE TABLE -->` by that table."""
    last = {mark[1]: mark[0] for mark in _MARK.finditer(markdown)}
    return _MARK.sub(lambda mark: table(mark[1], mark[2], origin=mark[0] == last[mark[1]]), markdown)


def table(name: str, which: str, *, origin: bool) -> str:
    """Return a table of a comparison, followed by its command, versions and date if `origin` is true."""
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    rows = found["tables"][which]
    compared = any(isinstance(row["theirs"], float) for row in rows) and which != "costs"
    head = ["", found["title"], "Invariscope", *(["difference"] if compared else [])]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["text"], _shown(row["theirs"]), _shown(row["ours"])]
        lines.append(f"| {' | '.join([*cells, *([_difference(row)] if compared else [])])} |")
    versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
    written = f"Written by `python -m benchmarks.coming_from {name}` on {found['date']}: {versions}."
    return "\n".join([*lines, *(["", written] if origin else [])])


def _shown(value: Any) -> str:
    return _short(f"{value:.4g}") if isinstance(value, float) else str(value)


def _short(number: str) -> str:
    return number.replace("e-0", "e-")


def _difference(row: dict[str, Any]) -> str:
    """Return the difference relative to the larger number, and mark numbers that should be equal."""
    pair = row["theirs"], row["ours"]
    if not all(isinstance(value, float) for value in pair):
        return ""
    found = abs(pair[0] - pair[1]) / max(abs(pair[0]), abs(pair[1]), 1e-300)
    if "agree" in row:
        return f"**{_short(f'{found:.0e}')}**" if found else "**0**"
    return f"{100 * found:.2g} %" if found < 0.995 else "100 %"
