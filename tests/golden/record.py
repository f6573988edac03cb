"""Computes cases and writes their numbers: `python -m tests.golden.record FOLDER [--only GLOB]`."""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from .capture import Leaf
from .cases import Case, all_cases

Numbers = dict[str, dict[str, Leaf]]


def computed(cases: Iterable[Case], *, timed: bool = False) -> Numbers:
    """{case: {path: leaf}}."""
    found: Numbers = {}
    for one in cases:
        started = time.process_time()
        found[one.name] = one.leaves()
        if timed:
            print(f"{time.process_time() - started:7.2f} s  {one.name}", flush=True)
    return found


def write(numbers: Numbers, folder: Path) -> None:
    """A file per family; the cases that a file holds already stay, unless they are computed anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in sorted({name.partition("/")[0] for name in numbers}):
        path = folder / f"{family}.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        own = {name: paths for name, paths in numbers.items() if name.partition("/")[0] == family}
        path.write_text(_text(before | own), encoding="utf-8")


def read(folder: Path) -> Numbers:
    """All cases that a folder holds."""
    found: Numbers = {}
    for path in sorted(folder.glob("*.json")):
        found |= json.loads(path.read_text(encoding="utf-8"))
    return found


def _text(numbers: Numbers) -> str:
    """JSON with a leaf on each line, so that a change is a change of a line."""
    cases = []
    for name, paths in sorted(numbers.items()):
        lines = [f" {json.dumps(path)}: {json.dumps(leaf, allow_nan=False)}" for path, leaf in paths.items()]
        cases.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(cases) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="*", help="glob of case names")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    write(computed(all_cases(given.only), timed=True), given.folder)


if __name__ == "__main__":
    main()
