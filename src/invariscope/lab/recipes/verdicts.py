"""The verdict on a claim from its cases: confirmed, refuted, mixed, undecided, or not tested."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from invariscope.intervals import holm
from invariscope.lab.recipes.cases import Case, Evidence, claim_cases
from invariscope.lab.recipes.comparison import ALPHA, CONFIRMED, MIXED, REFUTED, UNDECIDED, UNTESTED
from invariscope.lab.recipes.recipe import Claim, Recipe


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with all its cases.

    Only cases that could be tested count. A case is *firmly* for or against if it stays so after Holm's
    adjustment for the number of tested cases.
    """

    claim: Claim
    cases: tuple[Case, ...]

    @property
    def tested(self) -> list[Case]:
        """The cases that could be tested."""
        return [case for case in self.cases if case.verdict != UNTESTED]

    @property
    def untested(self) -> list[str]:
        """The reason why each untested case was not tested."""
        return [case.reason for case in self.cases if case.verdict == UNTESTED]

    def count(self, verdict: str) -> int:
        """Return the number of cases whose own interval gives that verdict."""
        return sum(case.verdict == verdict for case in self.cases)

    def firmly(self, verdict: str) -> int:
        """Return the number of cases with that verdict whose adjusted p-value is at most 0.05."""
        return sum(case.verdict == verdict and case.p_holm <= ALPHA for case in self.tested)

    def counted(self, verdict: str) -> int:
        """Return the number of cases with that verdict: of all if all agree, else of the firm ones."""
        count = self.count(verdict)
        return count if count == len(self.tested) else self.firmly(verdict)

    @property
    def word(self) -> str:
        """The verdict; "not tested" if fewer than half of the cases could be tested.

        Confirmed if every case holds over its own interval: an intersection-union test, which needs no
        adjustment. Refuted if every case fails over its own interval, or if none is firmly for and more than
        half are firmly against. Mixed if some are firmly for and some firmly against.
        """
        cases = len(self.tested)
        if not cases or 2 * cases < len(self.cases):
            return UNTESTED
        if self.count(CONFIRMED) == cases:
            return CONFIRMED
        for_, against = self.firmly(CONFIRMED), self.firmly(REFUTED)
        if self.count(REFUTED) == cases or (not for_ and against > cases / 2):
            return REFUTED
        return MIXED if for_ and against else UNDECIDED

    @property
    def shown(self) -> str:
        """The verdict with its counts, as in `with_counts`.

        If all cases agree over their own intervals, all of them are counted, otherwise only the firm ones.
        """
        word, cases = self.word, len(self.tested)
        if word == UNTESTED:
            return word
        return with_counts(word, cases, self.counted(CONFIRMED), self.counted(REFUTED))


def with_counts(word: str, cases: int, for_: int, against: int) -> str:
    """Return a verdict with its counts; the word alone for a single case.

    >>> with_counts("mixed", 8, 5, 2), with_counts("refuted", 3, 0, 3), with_counts("confirmed", 1, 1, 0)
    ('mixed: 5 of 8 for, 2 against', 'refuted: 3 of 3 against', 'confirmed')
    """
    if cases < 2:
        return word
    if cases in (for_, against):
        return f"{word}: {cases} of {cases} {'for' if for_ else 'against'}"
    return f"{word}: {for_} of {cases} for, {against} against"


def verdicts(recipe: Recipe, cells: Evidence) -> list[ClaimVerdict]:
    """Return every claim with its cases."""
    return [
        ClaimVerdict(claim, _adjusted(claim_cases(recipe, number, cells)))
        for number, claim in enumerate(recipe.claims)
    ]


def _adjusted(cases: list[Case]) -> tuple[Case, ...]:
    """Return the cases with Holm-adjusted p-values; for a tested case without an interval, p counts as 1."""
    known = [1.0 if case.verdict != UNTESTED and math.isnan(case.p) else case.p for case in cases]
    adjusted = holm(known).tolist()
    return tuple(
        case if math.isnan(case.p) else replace(case, p_holm=p)
        for case, p in zip(cases, adjusted, strict=True)
    )
