"""The log of a campaign: one line of JSON per cell that finished or failed."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invariscope.common.reading import read_json
from invariscope.lab.recipes import Cell, Store
from invariscope.lab.recipes.kinds.training import NETWORK
from invariscope.lab.recipes.store import telling

# The folders of an absolute path, which the committed log must not reveal.
_FOLDERS = re.compile(r"(?<![\w.:/])(?:/[^/\s'\"]+)+/(?=[^/\s'\"]*)")


@dataclass(frozen=True)
class Log:
    """A log file with one JSON object per line; other lines are skipped.

    Args:
        path: path of the file.
    """

    path: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines, oldest first."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [found for line in text.splitlines() if (found := _parsed(line)) is not None]

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return the lines of finished cells by key."""
        return {line["key"]: line for line in self.lines() if "failed" not in line}

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(line, sort_keys=True) + "\n"
        with self.path.open("ab+") as stream:
            if stream.seek(0, os.SEEK_END):  # a crash may have cut the last line short
                stream.seek(-1, os.SEEK_END)
                text = text if stream.read(1) == b"\n" else "\n" + text
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())


def line_of(store: Store, cell: Cell, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the log line of a finished cell, from its manifest and, for a network, its card.

    For a resumed training run, the seconds include the time before the interruption.
    """
    copied = ("seconds", "threads", "device", "machine", "versions", "finished")
    line = {**_named(store, cell), **{name: manifest[name] for name in copied}}
    if cell.options.gives == "network":
        card = read_json(store.folder(cell) / NETWORK / "card.json")
        known = card["training"]
        line["test_accuracy"] = known.get("test_accuracy")
        line["seconds"] = round(max(line["seconds"], known.get("seconds") or 0.0), 1)
    return line


def failure_of(store: Store, cell: Cell, reason: str) -> dict[str, Any]:
    """Return the log line of a cell that failed, with absolute paths in the reason shortened."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**_named(store, cell), "failed": _FOLDERS.sub("…/", reason), "ended": now}


def alike(store: Store, cell: Cell) -> str:
    """Return a hash shared by cells that differ only in seeds, or in the name or epoch of a network.

    Such cells take equally long on the same machine.
    """
    own = {k: v for k, v in telling(cell.options).items() if k not in ("seed", "model", "start")}
    needs = [alike(store, store.plan[need]) for need in cell.needs]
    text = json.dumps([cell.kind, cell.options.revision, own, needs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _named(store: Store, cell: Cell) -> dict[str, Any]:
    recipe = store.plan.recipe.text.name.removesuffix(".toml")
    return {
        "key": store.key(cell),
        "alike": alike(store, cell),
        "recipe": recipe,
        "scale": store.plan.scale,
        "name": cell.name,
        "kind": cell.kind,
    }


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "key" in found else None
