"""Rows of two numbers, and the file that holds them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[1] / "results" / "coming_from"
Numbers = dict[str, float | str]


@dataclass(frozen=True)
class Row:
    """One quantity, as measured by either package.

    Args:
        key: name of the number in `theirs()` and `ours()`; one of them may lack it.
        text: what is compared, in Markdown.
        agree: largest relative difference, if the two numbers should be equal.
    """

    key: str
    text: str
    agree: float | None = None


def record(module: ModuleType) -> dict:
    """Return the versions, and the rows of every table, of a comparison.

    Raises:
        ValueError: two numbers that should be equal are not.
    """
    torch.set_num_threads(1)
    theirs, ours = module.theirs(), module.ours()
    if hasattr(module, "costs"):
        theirs, ours = ({**found, **more} for found, more in zip((theirs, ours), module.costs(), strict=True))
    tables = {
        name: [
            {"key": row.key, "text": row.text, "theirs": theirs.get(row.key), "ours": ours.get(row.key)}
            | ({"agree": row.agree} if row.agree else {})
            for row in rows
        ]
        for name, rows in module.TABLES.items()
    }
    for row in (row for rows in tables.values() for row in rows if "agree" in row):
        if not difference(row["theirs"], row["ours"]) <= row["agree"]:
            raise ValueError(
                f"{row['key']}: {row['theirs']} and {row['ours']} differ by more than {row['agree']}"
            )
    packages = {name: version(name) for name in (*module.PACKAGES, "invariscope", "torch")}
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return {"title": module.TITLE, "versions": packages, "date": today, "tables": tables}


def difference(theirs: float, ours: float) -> float:
    """Return the difference between two numbers, relative to the larger one."""
    return abs(theirs - ours) / max(abs(theirs), abs(ours), 1e-300)


def tensors(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors stored for a comparison; if there are none, make and store them."""
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        save_file({key: value.contiguous() for key, value in make().items()}, path)
    return load_file(path)


def path_of(name: str) -> Path:
    """Return the file that holds the numbers of a comparison."""
    return FOLDER / f"{name}.json"


def read(name: str) -> dict:
    """Return the stored numbers of a comparison."""
    return json.loads(path_of(name).read_text(encoding="utf-8"))


def write(name: str, found: dict) -> None:
    """Store the numbers of a comparison."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path_of(name).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
