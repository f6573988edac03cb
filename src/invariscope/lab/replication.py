"""Cases of claims from training runs with fresh seeds, beside those from the recipe's own seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invariscope.lab.recipes import Page
from invariscope.lab.recipes.case_tables import case_interval
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.comparison import CONFIRMED, REFUTED, UNTESTED
from invariscope.lab.recipes.markdown import NONE, grid
from invariscope.lab.recipes.verdicts import ClaimVerdict
from invariscope.plots.shared.labels import number


@dataclass(frozen=True)
class Replication:
    """One case of a claim, tested with the seeds of the recipe and with fresh ones.

    Args:
        claim: text of the claim.
        first: the case with the seeds of the recipe.
        fresh: the case with fresh seeds.
    """

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


def replications(first: Sequence[ClaimVerdict], fresh: Sequence[ClaimVerdict]) -> list[Replication]:
    """Return the cases that were tested with both sets of seeds, and do not come from the same cells."""
    own = {(one.claim.text, _named(case)): case for one in first for case in one.cases}
    both = [(v.claim.text, own.get((v.claim.text, _named(case))), case) for v in fresh for case in v.cases]
    return [
        Replication(claim, before, now)
        for claim, before, now in both
        if before and UNTESTED not in (before.verdict, now.verdict) and before.cells != now.cells
    ]


def replication_tables(pages: Mapping[str, Page], fresh: Mapping[str, Sequence[ClaimVerdict]]) -> str:
    """Return how many cases have the same verdict with fresh seeds, and a table per recipe, as Markdown.

    Args:
        pages: pages with the verdicts of the recipes' own seeds, by recipe.
        fresh: verdicts from fresh training runs alone, by recipe.
    """
    found = {name: replications(pages[name].verdicts, verdicts) for name, verdicts in fresh.items()}
    every = [one for own in found.values() for one in own]
    if not every:
        return "No case has been tested on fresh training runs yet."
    parts = [_counts(every)]
    for name, own in found.items():
        if own:
            parts += [f"### {pages[name].outcomes.plan.recipe.title}, fresh seeds", _cases(own)]
    return "\n\n".join(parts)


def _counts(found: Sequence[Replication]) -> str:
    same, opposite = sum(one.agrees for one in found), sum(one.contradicts for one in found)
    return f"Cases tested on both: {len(found)}. Same verdict: {same}. Opposite verdict: {opposite}."


def _cases(found: Sequence[Replication]) -> str:
    return grid(
        [
            ("claim", [one.claim for one in found]),
            ("case", [_named(one.fresh) or NONE for one in found]),
            ("first", [_value(one.first) for one in found]),
            ("verdict", [f"*{one.first.verdict}*" for one in found]),
            ("fresh", [_value(one.fresh) for one in found]),
            ("fresh verdict", [f"*{one.fresh.verdict}*" for one in found]),
        ]
    )


def _named(case: Case) -> str:
    return ", ".join(map(str, case.axes.values()))


def _value(case: Case) -> str:
    assert case.estimate is not None
    return f"{number(case.estimate.value)} ({case_interval(case)})"
