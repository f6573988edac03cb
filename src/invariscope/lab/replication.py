"""Verdicts of training runs with fresh seeds beside those of the first training runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from invariscope.lab import recipes
from invariscope.lab.agenda import AgendaStep
from invariscope.lab.recipes.case_tables import case_interval
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.comparison import CONFIRMED, REFUTED, UNTESTED
from invariscope.lab.recipes.markdown import NONE, grid
from invariscope.lab.recipes.verdicts import verdicts
from invariscope.plots.shared.labels import number


@dataclass(frozen=True)
class Replication:
    """One case of a claim, tested with the seeds of the recipe and with fresh ones.

    Args:
        recipe: name of the recipe.
        claim: text of the claim.
        first: the case with the seeds of the recipe.
        fresh: the case with fresh seeds.
    """

    recipe: str
    claim: str
    first: Case
    fresh: Case

    @property
    def agrees(self) -> bool:
        """Whether both intervals give the same verdict."""
        return self.first.verdict == self.fresh.verdict

    @property
    def contradicts(self) -> bool:
        """Whether one interval is for the claim and the other against it."""
        return {self.first.verdict, self.fresh.verdict} == {CONFIRMED, REFUTED}


def replications(steps: Sequence[AgendaStep], archive: Path) -> list[Replication]:
    """Return the cases that the archive has with the seeds of a recipe and with those of a step.

    Args:
        steps: steps of a campaign; those with `seeds` of their own are replications.
        archive: folder with the archive of finished cells.
    """
    found = []
    for step in (step for step in steps if step.seeds):
        first = AgendaStep(recipe=step.recipe, scale=step.scale, worth=step.worth)
        with tempfile.TemporaryDirectory() as scratch:  # cells are unpacked there
            known = recipes.Archive(archive)
            stores = [recipes.Store(Path(scratch), one.plan, archive=known) for one in (first, step)]
            found += [*_of_recipe(step.recipe, *stores)]
    return found


def _of_recipe(name: str, first: recipes.Store, fresh: recipes.Store) -> Iterator[Replication]:
    firsts, freshes = (verdicts(store.plan.recipe, recipes.Outcomes(store)) for store in (first, fresh))
    for one, other in zip(firsts, freshes, strict=True):
        for before, now in zip(one.cases, other.cases, strict=True):
            tested = UNTESTED not in (before.verdict, now.verdict)
            if tested and _keys(first, before).isdisjoint(_keys(fresh, now)):
                yield Replication(name, one.claim.text, before, now)


def _keys(store: recipes.Store, case: Case) -> set[str]:
    return {store.key(store.plan[name]) for name in case.cells}


def replication_summary(found: Sequence[Replication]) -> str:
    """Return how many cases have the same verdict with fresh seeds, and a row per case, as Markdown."""
    if not found:
        return "No case has been run with fresh seeds yet."
    parts = [_counts(found)]
    for name in dict.fromkeys(one.recipe for one in found):
        parts += [f"### [{name}]({name}.md)", _cases([one for one in found if one.recipe == name])]
    return "\n\n".join(parts)


def _counts(found: Sequence[Replication]) -> str:
    same, opposite = sum(one.agrees for one in found), sum(one.contradicts for one in found)
    claims = len({(one.recipe, one.claim) for one in found})
    return (
        f"Cases run with fresh seeds: {len(found)}, of {claims} claims. Same verdict: {same}. "
        f"Opposite verdict: {opposite}."
    )


def _cases(found: Sequence[Replication]) -> str:
    return grid(
        [
            ("claim", [one.claim for one in found]),
            ("case", [", ".join(map(str, one.fresh.axes.values())) or NONE for one in found]),
            ("first seeds", [_value(one.first) for one in found]),
            ("verdict", [f"*{one.first.verdict}*" for one in found]),
            ("fresh seeds", [_value(one.fresh) for one in found]),
            ("verdict, fresh seeds", [f"*{one.fresh.verdict}*" for one in found]),
        ]
    )


def _value(case: Case) -> str:
    assert case.estimate is not None
    return f"{number(case.estimate.value)} ({case_interval(case)})"
