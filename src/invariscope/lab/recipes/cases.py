"""The numbers behind tables and claims: one case per combination of axis values, over its training runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Any, Protocol

from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.lab.recipes.cells import RecipePlan, combinations, filled
from invariscope.lab.recipes.comparison import UNTESTED, Comparison
from invariscope.lab.recipes.floors import Learned, lowest, trained_below
from invariscope.lab.recipes.quantities import (
    Estimate,
    LeftOutError,
    NotFinishedError,
    NoValueError,
    Results,
    check,
    evaluate,
    nested,
)
from invariscope.lab.recipes.recipe import Claim, Recipe, RecipeTable
from invariscope.lab.recipes.text import Place

FEWEST = 3
Spec = dict[str, Any]


class Evidence(Results, Protocol):
    """Results, together with the accuracies of the networks behind them."""

    def learned(self, name: str) -> Sequence[Learned]:
        """Return the trained networks that a finished measuring cell uses."""
        ...

    def finished_at(self, name: str) -> datetime | None:
        """Return when the measuring cell was finished; None if it is unfinished."""
        ...


@dataclass(frozen=True)
class Case:
    """One number of a table, or one number that a claim depends on.

    Args:
        axes: the values of the entry's axes.
        cells: names of the measuring cells it depends on.
        estimate: the number; None if there is none.
        reason: why there is no number, or why it is not tested.
        published: the published number, or None.
        learned: the trained networks it depends on.
        finished: when the earliest of its results was finished.
        verdict: for a claim, the verdict on this case, from its own interval.
        p: p-value of the hypothesis that the value equals the nearest bound of the claim's comparison; NaN
            if unknown.
        p_holm: `p`, adjusted for the number of tested cases of the claim.
    """

    axes: Mapping[str, Any]
    cells: tuple[str, ...]
    estimate: Estimate | None
    reason: str = ""
    published: float | None = None
    learned: tuple[Learned, ...] = ()
    finished: datetime | None = None
    verdict: str = ""
    p: float = math.nan
    p_holm: float = math.nan


def table_cases(recipe: Recipe, number: int, cells: Evidence) -> list[Case]:
    """Return the cases of one table, one per row."""
    table, place = recipe.tables[number], recipe.place("tables", number)
    found = []
    for chosen in combinations(recipe, table, place):
        case = _case(recipe, table, place, chosen, cells)
        found.append(replace(case, published=_published(table.published, list(chosen.values()))))
    return found


def claim_cases(recipe: Recipe, number: int, cells: Evidence) -> list[Case]:
    """Return the cases of one claim with their verdicts; none for a claim that is listed without a test."""
    claim, place = recipe.claims[number], recipe.place("claims", number)
    if claim.untested:
        return []
    comparison, chosen_axes = Comparison.read(claim.holds), combinations(recipe, claim, place)
    return [_judged(_case(recipe, claim, place, chosen, cells), comparison) for chosen in chosen_axes]


def cells_of_claims(plan: RecipePlan) -> list[list[list[str]]]:
    """Return the names of the measuring cells that each case of each tested claim depends on."""
    found = []
    for number, claim in enumerate(plan.recipe.claims):
        place = plan.recipe.place("claims", number)
        cases = [] if claim.untested else combinations(plan.recipe, claim, place)
        trainings = [_by_training(plan.recipe, claim, place, chosen) for chosen in cases]
        found.append([plan.measuring(_names(every)) for every in trainings])
    return found


def trainings_of_claims(plan: RecipePlan) -> list[str]:
    """Return the trained networks that tested claims depend on."""
    names = (name for cases in cells_of_claims(plan) for case in cases for name in case)
    return list(dict.fromkeys(below for name in names for below in trained_below(plan, name)))


def check_values(plan: RecipePlan) -> None:
    """Reject tables and claims whose numbers cannot be computed, before any cell runs.

    Raises:
        RecipeError: an unknown quantity, argument, cell, axis or comparison, or a margin without a reason.
    """
    recipe = plan.recipe
    measuring = [*plan.measuring(["*"]), *plan.left_out]
    for section, entries in (("tables", recipe.tables), ("claims", recipe.claims)):
        for number, entry in enumerate(entries):
            place = recipe.place(section, number)
            for chosen in combinations(recipe, entry, place):
                _check_specs(_by_training(recipe, entry, place, chosen), measuring, place)
            if isinstance(entry, Claim):
                _check_claim(entry, place)
            else:
                _check_curve(entry, recipe.listed(entry.axes, place), place)


def _check_claim(claim: Claim, place: Place) -> None:
    if bool(claim.value) == bool(claim.untested):
        raise place.error("a claim needs either a value or a reason why it is untested, not both", "text")
    try:
        comparison = Comparison.read(claim.holds)
    except ValueError as error:
        raise place.error(str(error), "holds") from error
    if comparison.chosen and not claim.why.strip():
        raise place.error(
            f"holds = {claim.holds!r} states a margin, or a bound that is neither 0 nor 1: give the reason "
            f'for it as why = "..."',
            "holds",
        )


def _check_curve(table: RecipeTable, axes: Mapping[str, Sequence[Any]], place: Place) -> None:
    if not table.against:
        return
    if table.against not in axes:
        raise place.error(str(unknown("axis", table.against, axes)), "against")
    if not all(isinstance(value, (int, float)) for value in axes[table.against]):
        raise place.error(
            f"{table.against!r} must be an axis of numbers, got {axes[table.against]}", "against"
        )


def _check_specs(trainings: Sequence[Sequence[Spec]], measuring: Sequence[str], place: Place) -> None:
    for spec in (spec for specs in trainings for spec in specs):
        _check_spec(spec, measuring, place)
    if any(specs == trainings[0] for specs in trainings[1:]):
        raise place.error(
            "the value is the same in all training runs: it must depend on the axes of `trainings`",
            "trainings",
        )


def _check_spec(spec: Spec, measuring: Sequence[str], place: Place) -> None:
    try:
        check(spec)
        for pattern in _patterns(spec):
            if not any(matches(pattern, name) for name in measuring):
                raise unknown("measuring cell", pattern, measuring)
    except ValueError as error:
        raise place.blame(error) from error


def _by_training(
    recipe: Recipe, entry: RecipeTable | Claim, place: Place, chosen: dict[str, Any]
) -> list[list[Spec]]:
    """Return the quantities of a case (its value and the one to subtract) per training run."""
    axes = recipe.listed(entry.trainings, place)
    if twice := set(axes) & set(chosen):
        raise place.error(f"{min(twice)!r} is an axis of both `for` and `trainings`", "trainings")
    minus = entry.minus if isinstance(entry, Claim) else {}
    pair = [spec for spec in (entry.value, minus) if spec]
    return [
        filled(pair, {**chosen, **dict(zip(axes, values, strict=True))}, place)
        for values in product(*axes.values())
    ]


def _case(
    recipe: Recipe, entry: RecipeTable | Claim, place: Place, chosen: dict[str, Any], cells: Evidence
) -> Case:
    trainings = _by_training(recipe, entry, place, chosen)
    names = tuple(cells.matching(_names(trainings)))
    learned = {one.cell: one for name in names for one in cells.learned(name)}
    finished = [time for time in map(cells.finished_at, names) if time is not None]
    try:
        estimate, reason = _estimate(trainings, cells, several=bool(entry.trainings)), ""
    except NoValueError as error:
        estimate, reason = None, str(error)
    return Case(
        chosen, names, estimate, reason, learned=tuple(learned.values()), finished=min(finished, default=None)
    )


def _judged(case: Case, comparison: Comparison) -> Case:
    """Return the case with its verdict; a case is untested if one of its networks is below its floor."""
    if case.estimate is None:
        return replace(case, verdict=UNTESTED)
    deciding = lowest(case.learned)
    if deciding is not None and deciding.shortfall:
        return replace(case, verdict=UNTESTED, reason=deciding.shortfall)
    interval = case.estimate.interval
    return replace(case, verdict=comparison.decided(interval), p=comparison.p(interval))


def _estimate(trainings: Sequence[Sequence[Spec]], cells: Results, *, several: bool) -> Estimate:
    """Return the value of a case; for several training runs, the mean value with a nested interval.

    Raises:
        NoValueError: there is no value, or fewer than three training runs have one.
    """
    if not several:
        return _difference(trainings[0], cells)
    found, failures = [], []
    for specs in trainings:
        try:
            found.append(_difference(specs, cells))
        except NoValueError as error:
            failures.append(error)
    if len(found) >= FEWEST:
        return nested(found)
    if grave := [error for error in failures if not isinstance(error, NotFinishedError)]:
        raise grave[0]
    planned = len(trainings) - sum(isinstance(error, LeftOutError) for error in failures)
    least = "" if planned >= FEWEST else f"; {FEWEST} are needed"
    raise NoValueError(f"{len(found)} of {planned} training runs are finished{least}")


def _difference(specs: Sequence[Spec], cells: Results) -> Estimate:
    value, *minus = (evaluate(cells, spec) for spec in specs)
    return value.minus(minus[0]) if minus else value


def _names(trainings: Sequence[Sequence[Spec]]) -> list[str]:
    """Return the cells, and patterns of cells, in the quantities of a case."""
    return list(dict.fromkeys(name for specs in trainings for spec in specs for name in _patterns(spec)))


def _patterns(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cells that a quantity names, and the patterns of cells it combines."""
    yield from (spec[key] for key in ("cell", "to") if key in spec)
    yield from spec.get("among", ())


def _published(numbers: Any, path: list[Any]) -> float | None:
    for step in path:
        if not isinstance(numbers, Mapping):
            break
        numbers = numbers.get(str(step))
    return float(numbers) if isinstance(numbers, (int, float)) else None
