"""Claims against their intervals: confirmed, refuted, or undecided."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from invariscope.common.registry import unknown
from invariscope.intervals import LEVEL, holm
from invariscope.recipes.cells import Plan, combinations, filled
from invariscope.recipes.quantities import Cells, Estimate, NoValueError, check, worked_out
from invariscope.recipes.recipe import Claim, Recipe, Table
from invariscope.recipes.text import Place

CONFIRMED, REFUTED, UNDECIDED, UNTESTED = "confirmed", "refuted", "undecided", "not tested"
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_COMPARISON = re.compile(rf"\s*(<|>|!=)\s*{_NUMBER}\s*")
_AROUND = re.compile(rf"\s*{_NUMBER}\s*±\s*{_NUMBER}\s*")


@dataclass(frozen=True)
class Case:
    """One number of a table or a claim.

    Args:
        axes: the values of the entry's axes.
        cells: names of the cells that it rests on.
        estimate: the number; None where there is none.
        reason: why there is none.
        published: the published number, or None.
        verdict: of a claim's case.
        p: of the hypothesis that a claim's value lies at the nearest bound of its comparison; NaN if unknown.
        p_holm: the same, adjusted for the number of the claim's cases.
    """

    axes: Mapping[str, Any]
    cells: tuple[str, ...]
    estimate: Estimate | None
    reason: str = ""
    published: float | None = None
    verdict: str = ""
    p: float = math.nan
    p_holm: float = math.nan


@dataclass(frozen=True)
class Verdict:
    """What all cases of a claim say together.

    A claim is confirmed only if every case is, which needs no adjustment for their number. It is refuted if
    any case is, which chance alone brings about among many: `firmly_against` counts those that stay.
    """

    claim: Claim
    cases: tuple[Case, ...]

    @property
    def firmly_against(self) -> int:
        """Refuted cases that stay so after Holm's adjustment for their number; none without a p-value."""
        return sum(case.verdict == REFUTED and case.p_holm <= 1 - LEVEL for case in self.cases)

    @property
    def counts(self) -> Counter[str]:
        """Cases by verdict."""
        return Counter(case.verdict for case in self.cases)

    @property
    def word(self) -> str:
        """Confirmed if every case is, refuted if any case is, undecided otherwise."""
        if self.counts[UNTESTED] == len(self.cases):
            return UNTESTED
        if self.counts[REFUTED]:
            return REFUTED
        return CONFIRMED if self.counts[CONFIRMED] == len(self.cases) else UNDECIDED


def decided(estimate: Estimate | None, holds: str) -> str:
    """Whether a comparison holds over the whole interval, fails over all of it, or neither.

    "0.5 ± 0.1" holds between 0.4 and 0.6.

    >>> from invariscope.intervals import Interval
    >>> below, across = Estimate(-0.2, Interval(-0.3, -0.1)), Estimate(0.1, Interval(-0.1, 0.3))
    >>> decided(below, "< 0"), decided(across, "< 0"), decided(below, "> 0")
    ('confirmed', 'undecided', 'refuted')
    """
    least, most, apart = _parsed(holds)
    if estimate is None:
        return UNTESTED
    low, high = estimate.interval.low, estimate.interval.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNDECIDED
    inside, outside = least < low and high < most, high < least or low > most
    if apart:
        return CONFIRMED if outside else UNDECIDED
    return CONFIRMED if inside else REFUTED if outside else UNDECIDED


def p_value(estimate: Estimate | None, holds: str) -> float:
    """Two-sided p-value that decides as the interval does: at or below 0.05 if `decided` decides.

    It is of the hypothesis that the true value equals the comparison's bound; of two bounds the nearer one
    decides. NaN if the standard error is not known.

    >>> from invariscope.intervals import jackknife
    >>> round(p_value(Estimate(3.0, jackknife(3.0, [2.0, 4.0], [5, 5])), "> 2"), 6)
    0.5
    """
    least, most, _ = _parsed(holds)
    if estimate is None:
        return math.nan
    return max(estimate.interval.p_at(bound) for bound in (least, most) if math.isfinite(bound))


def verdicts(recipe: Recipe, cells: Cells) -> list[Verdict]:
    """Every claim with its cases."""
    found = []
    for number, claim in enumerate(recipe.claims):
        place = recipe.place("claims", number)
        cases = [] if claim.untested else _cases(recipe, claim, place, cells)
        adjusted = holm([case.p for case in cases]).tolist()
        family = (replace(case, p_holm=p) for case, p in zip(cases, adjusted, strict=True))
        found.append(Verdict(claim, tuple(family)))
    return found


def table_cases(recipe: Recipe, number: int, cells: Cells) -> list[Case]:
    """The rows of one table."""
    table = recipe.tables[number]
    return list(_cases(recipe, table, recipe.place("tables", number), cells))


def check_values(plan: Plan) -> None:
    """Refuses tables and claims whose numbers cannot be worked out, before anything is run.

    Raises:
        RecipeError: an unknown quantity, argument, cell, axis or comparison.
    """
    recipe = plan.recipe
    measuring = [cell.name for cell in plan.cells if cell.options.gives == "result"]
    for section, entries in (("tables", recipe.tables), ("claims", recipe.claims)):
        for number, entry in enumerate(entries):
            place = recipe.place(section, number)
            for chosen in combinations(recipe, entry, place):
                for spec in _specs(entry, chosen, place):
                    _checked(spec, measuring, place)
            if isinstance(entry, Claim):
                _check_claim(entry, place)


def _check_claim(claim: Claim, place: Place) -> None:
    if bool(claim.value) == bool(claim.untested):
        raise place.error("a claim has either a value or a reason why it is untested", "text")
    try:
        _parsed(claim.holds)
    except ValueError as error:
        raise place.error(str(error), "holds") from error


def _checked(spec: dict[str, Any], measuring: Sequence[str], place: Place) -> None:
    try:
        check(spec)
        for name in _named(spec):
            if name not in measuring:
                raise unknown("measuring cell", name, measuring)
        for pattern in _patterns(spec):
            if not any(fnmatchcase(name, pattern) for name in measuring):
                raise unknown("measuring cell", pattern, measuring)
    except ValueError as error:
        raise place.blame(error) from error


def _parsed(holds: str) -> tuple[float, float, bool]:
    """(lower bound, upper bound, whether it holds outside of them instead of between)."""
    if around := _AROUND.fullmatch(holds):
        centre, reach = float(around[1]), float(around[2])
        return centre - reach, centre + reach, False
    match = _COMPARISON.fullmatch(holds)
    if match is None:
        raise ValueError(f"holds is a comparison with a number, such as '< 0' or '0.5 ± 0.1'; got {holds!r}")
    bound = float(match[2])
    if match[1] == "!=":
        return bound, bound, True
    return (-math.inf, bound, False) if match[1] == "<" else (bound, math.inf, False)


def _specs(entry: Table | Claim, chosen: Mapping[str, Any], place: Place) -> list[dict[str, Any]]:
    pair = [entry.value, entry.minus] if isinstance(entry, Claim) else [entry.value]
    return [filled(spec, chosen, place) for spec in pair if spec]


def _cases(recipe: Recipe, entry: Table | Claim, place: Place, cells: Cells) -> list[Case]:
    return [_case(entry, chosen, place, cells) for chosen in combinations(recipe, entry, place)]


def _case(entry: Table | Claim, chosen: dict[str, Any], place: Place, cells: Cells) -> Case:
    specs = _specs(entry, chosen, place)
    names = tuple(name for spec in specs for name in _names(spec, cells))
    published = _published(entry.published, list(chosen.values())) if isinstance(entry, Table) else None
    try:
        estimate, *other = (worked_out(cells, spec) for spec in specs)
        reason = ""
    except NoValueError as error:
        estimate, other, reason = None, [], str(error)
    if estimate is not None and other:
        estimate = estimate.minus(other[0])
    case = Case(chosen, names, estimate, reason, published)
    if not isinstance(entry, Claim):
        return case
    return replace(case, verdict=decided(estimate, entry.holds), p=p_value(estimate, entry.holds))


def _names(spec: Mapping[str, Any], cells: Cells) -> Sequence[str]:
    return _named(spec) or cells.matching(_patterns(spec))


def _patterns(spec: Mapping[str, Any]) -> list[str]:
    """Of the cells that a quantity puts together, and of those that they are compared to."""
    return [*spec.get("among", []), *spec.get("beside", [])]


def _named(spec: Mapping[str, Any]) -> list[str]:
    """The cells that a quantity names: the one it is of, and the one it is compared to."""
    return [spec[key] for key in ("cell", "to") if key in spec]


def _published(numbers: Any, path: list[Any]) -> float | None:
    for step in path:
        if not isinstance(numbers, Mapping):
            break
        numbers = numbers.get(str(step))
    return float(numbers) if isinstance(numbers, (int, float)) else None
