"""Results by name, from which tests compute quantities."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from invariscope.lab.recipes.floors import Learned
from invariscope.lab.recipes.quantities import NoValueError
from invariscope.results.result import Result

SIZES = [10] * 8


class Shelf(dict[str, Result]):
    """Stands in for the outcomes of a recipe."""

    def result(self, name: str) -> Result:
        if name not in self:
            raise NoValueError(f"{name} is not finished")
        return self[name]

    def matching(self, patterns: Sequence[str]) -> list[str]:
        return [name for name in self if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def learned(self, name: str) -> tuple[Learned, ...]:
        return ()

    def finished_at(self, name: str) -> None:
        return None
