"""The list of cases: a name, what is computed, and how far machines may differ."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from .capture import Leaf, leaves

TOLERANCE = 1e-9
MODULES = ("measures", "options", "transforms", "studies", "checks", "filters", "figures", "surface")


@dataclass(frozen=True)
class Case:
    """One computation.

    Args:
        name: "family/which"; cases of a family share a file.
        compute: without arguments; gives anything that `capture.leaves` takes.
        tolerance: relative to the largest value of a leaf, between machines.
    """

    name: str
    compute: Callable[[], Any]
    tolerance: float = TOLERANCE

    def leaves(self) -> dict[str, Leaf]:
        """What is kept of it; the global generator, which initial weights draw from, is seeded before."""
        torch.manual_seed(0)
        return leaves(self.compute())


CASES: dict[str, Case] = {}


def add(name: str, compute: Callable[[], Any], *, tolerance: float = TOLERANCE) -> None:
    """Adds a case; each name stands once."""
    assert name not in CASES, f"two cases are called {name}"
    CASES[name] = Case(name, compute, tolerance)


def case(name: str, *, tolerance: float = TOLERANCE) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Adds the decorated function as a case."""

    def added(compute: Callable[[], Any]) -> Callable[[], Any]:
        add(name, compute, tolerance=tolerance)
        return compute

    return added


def all_cases(only: str = "*") -> list[Case]:
    """Every case whose name matches the glob, in a fixed order."""
    for module in MODULES:
        importlib.import_module(f".of_{module}", __package__)
    return [one for name, one in sorted(CASES.items()) if fnmatchcase(name, only)]
