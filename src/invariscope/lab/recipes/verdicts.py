"""What the cases of a claim say together: confirmed, refuted, mixed, undecided, or not tested."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from invariscope.intervals import holm
from invariscope.lab.recipes.cases import Case, Evidence, claim_cases
from invariscope.lab.recipes.comparison import (
    ALPHA,
    CONFIRMED,
    MIXED,
    REFUTED,
    UNDECIDED,
    UNTESTED,
    decided,
    p_value,
)
from invariscope.lab.recipes.recipe import Claim, Recipe

__all__ = [
    "CONFIRMED",
    "MIXED",
    "REFUTED",
    "UNDECIDED",
    "UNTESTED",
    "ClaimVerdict",
    "decided",
    "p_value",
    "verdicts",
]


@dataclass(frozen=True)
class ClaimVerdict:
    """What all cases of a claim say together.

    Only cases that could be tested count. *Firmly* for or against are those that stay so after Holm's
    adjustment for their number.
    """

    claim: Claim
    cases: tuple[Case, ...]

    @property
    def tested(self) -> list[Case]:
        """The cases that count."""
        return [case for case in self.cases if case.tested]

    @property
    def counts(self) -> Counter[str]:
        """Cases by the verdict of their own interval."""
        return Counter(case.verdict for case in self.cases)

    def firmly(self, verdict: str) -> int:
        """Cases with that verdict whose adjusted p-value is at most 0.05."""
        return sum(case.verdict == verdict and case.p_holm <= ALPHA for case in self.tested)

    @property
    def word(self) -> str:
        """The verdict; none if fewer than half of the cases could be tested.

        Confirmed if every case holds over its own interval: an intersection-union test, which needs no
        adjustment. Refuted if every case fails over its own, or if none is firmly for and more than half are
        firmly against. Mixed if some are firmly for and some firmly against.
        """
        cases = len(self.tested)
        if not cases or 2 * cases < len(self.cases):
            return UNTESTED
        if self.counts[CONFIRMED] == cases:
            return CONFIRMED
        for_, against = self.firmly(CONFIRMED), self.firmly(REFUTED)
        if self.counts[REFUTED] == cases or (not for_ and against > cases / 2):
            return REFUTED
        return MIXED if for_ and against else UNDECIDED

    @property
    def shown(self) -> str:
        """The verdict with its counts: "mixed: 5 of 8 for, 2 against"; of a single case the word alone.

        Where all cases agree over their own intervals all of them are counted, else those that are firm.
        """
        word, cases = self.word, len(self.tested)
        if cases < 2 or word == UNTESTED:
            return word
        if self.counts[CONFIRMED] == cases:
            return f"{word}: {cases} of {cases} for"
        if self.counts[REFUTED] == cases:
            return f"{word}: {cases} of {cases} against"
        return f"{word}: {self.firmly(CONFIRMED)} of {cases} for, {self.firmly(REFUTED)} against"

    @property
    def untested(self) -> list[str]:
        """Why cases were not tested, a reason per case."""
        return [case.reason for case in self.cases if not case.tested]


def verdicts(recipe: Recipe, cells: Evidence) -> list[ClaimVerdict]:
    """Every claim with its cases."""
    return [
        ClaimVerdict(claim, _adjusted(claim_cases(recipe, number, cells)))
        for number, claim in enumerate(recipe.claims)
    ]


def _adjusted(cases: list[Case]) -> tuple[Case, ...]:
    """With Holm's p-values over the tested cases; one without an interval counts as p = 1."""
    known = [1.0 if case.tested and math.isnan(case.p) else case.p for case in cases]
    adjusted = holm(known).tolist()
    return tuple(
        case if math.isnan(case.p) else replace(case, p_holm=p)
        for case, p in zip(cases, adjusted, strict=True)
    )
