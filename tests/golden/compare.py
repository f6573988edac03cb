"""Compares two recordings: `python -m tests.golden.compare BEFORE AFTER [--tolerance 1e-12]`.

Prints the largest deviation of every case, relative to the largest value of the column or map, and fails
above the tolerance, or where something is missing, new, or of another kind.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from .capture import Leaf
from .record import Numbers, read

SAME_MACHINE = 1e-12
# Values far below this are the rounding of a zero: how they come out is not a property of the code.
LEAST_SCALE = 1e-4


def differences(before: dict[str, Leaf], after: dict[str, Leaf]) -> dict[str, float]:
    """{path: deviation} of everything in two cases; infinite where one lacks the path."""
    paths = dict.fromkeys([*before, *after])
    return {
        path: deviation(before[path], after[path]) if path in before and path in after else math.inf
        for path in paths
    }


def deviation(before: Leaf, after: Leaf) -> float:
    """The largest difference, relative to the largest value; infinite for another shape, name or NaN."""
    if isinstance(before, dict) and isinstance(after, dict):
        if before.keys() != after.keys():
            return math.inf
        if "names" in before:
            return 0.0 if set(before["names"]) <= set(after["names"]) else math.inf
        if "shape" in before:
            return _of_statistics(before, after)
        return max((deviation(before[name], after[name]) for name in before), default=0.0)
    one, other = _listed(before), _listed(after)
    if len(one) == len(other) and before == after:
        return 0.0
    if len(one) != len(other) or not (_numeric(one) and _numeric(other)):
        return math.inf
    return _of_numbers(np.array(one, dtype=float), np.array(other, dtype=float))


def _of_statistics(before: dict[str, Any], after: dict[str, Any]) -> float:
    measured = ("mean", "weighted", "power", "low", "high")
    if any(before[name] != after[name] for name in before if name not in measured):
        return math.inf
    one, other = ([float(leaf[name]) for name in measured] for leaf in (before, after))
    return _of_numbers(np.array(one), np.array(other))


def _of_numbers(before: np.ndarray, after: np.ndarray) -> float:
    finite = np.isfinite(before)
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True):
        return math.inf
    if not (finite.any() and np.isfinite(after[finite]).all()):
        return math.inf if finite.any() else 0.0
    scale = max(np.abs(before[finite]).max(), LEAST_SCALE)
    return float(np.abs(before[finite] - after[finite]).max() / scale)


def _listed(leaf: Any) -> list[Any]:
    return leaf if isinstance(leaf, list) else [leaf]


def _numeric(entries: list[Any]) -> bool:
    return all(isinstance(entry, int | float) or entry in ("nan", "inf", "-inf") for entry in entries)


def worst(before: Numbers, after: Numbers) -> dict[str, tuple[float, str]]:
    """{case: (largest deviation, where)} of two recordings."""
    found = {}
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            found[name] = math.inf, "only before" if name in before else "only after"
            continue
        path, most = max(differences(before[name], after[name]).items(), key=lambda pair: pair[1])
        found[name] = most, path if most else ""
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=SAME_MACHINE)
    given = parser.parse_args()
    found = worst(read(given.before), read(given.after))
    for name, (most, path) in found.items():
        print(f"{most:9.1e}  {name}  {path}")
    failed = [name for name, (most, _) in found.items() if most > given.tolerance]
    most = max((most for most, _ in found.values()), default=0.0)
    print(f"{len(found)} cases, {len(failed)} above {given.tolerance:g}; largest deviation {most:.1e}")
    raise SystemExit(1 if failed or not found else 0)


if __name__ == "__main__":
    main()
