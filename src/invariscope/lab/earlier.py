"""The verdicts of an earlier run beside those of today, and why they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invariscope.lab.recipes import Page
from invariscope.lab.recipes.case_tables import in_italics
from invariscope.lab.recipes.comparison import CONFIRMED, MIXED, REFUTED, UNDECIDED, UNTESTED
from invariscope.lab.recipes.floors import lowest
from invariscope.lab.recipes.markdown import grid
from invariscope.lab.recipes.text import Place, Text
from invariscope.lab.recipes.verdicts import ClaimVerdict, with_counts

FILE = Path(__file__).with_name("earlier.toml")
WORDS = (CONFIRMED, REFUTED, MIXED, UNDECIDED, UNTESTED)
_NUMBERS = ("No", "One", "Two", "Three", "Four")
NEW, DROPPED, LISTED, CELLS, FLOOR = "new", "dropped", "listed without a test", "waits for cells", "floor"
SAME, RULE, TEST, RESULTS = "same verdict", "rule", "test", "results"
_CAUSES = {
    SAME: "same verdict",
    RULE: "the rule: today's cases would still give the earlier verdict by the earlier rule",
    TEST: "the test: another bound, statistic or set of networks",
    RESULTS: "the results: today's cases would not give the earlier verdict by the earlier rule either",
    FLOOR: "not tested: networks below their floor",
    CELLS: "not tested: cells are not finished",
    LISTED: "not tested: listed without a test",
    DROPPED: "dropped",
}


@dataclass(frozen=True, kw_only=True)
class EarlierClaim:
    """A claim of the earlier run.

    Args:
        text: the claim.
        verdict: the verdict.
        holds: the bound of its value; empty if it had no test.
        cases: numbers of cases for, against, undecided, and without a value.
        now: today's claims that took its place; by default the claim of the same text.
        note: what else changed in the test.
    """

    text: str
    verdict: str
    holds: str = ""
    cases: list[int] = field(default_factory=list)
    now: list[str] | None = None
    note: str = ""

    @property
    def successors(self) -> list[str]:
        """Texts of today's claims that took its place."""
        return [self.text] if self.now is None else self.now

    @property
    def shown(self) -> str:
        """The verdict with its counts.

        >>> EarlierClaim(text="", verdict="refuted", cases=[13, 3, 0, 0]).shown
        'refuted: 13 of 16 for, 3 against'
        """
        return with_counts(self.verdict, sum(self.cases), *self.cases[:2]) if self.cases else self.verdict


@dataclass(frozen=True)
class ClaimChange:
    """A claim of today with the earlier claims whose place it took; the reverse is `EarlierClaim.successors`.

    Args:
        now: the claim with its verdict.
        before: the earlier claims; empty for a new claim.
    """

    now: ClaimVerdict
    before: tuple[EarlierClaim, ...]

    @property
    def cause(self) -> str:
        """Why today's verdict is not the earlier one, as a key of the table of reasons, or NEW."""
        word, words = self.now.word, {claim.verdict for claim in self.before}
        if not self.before:
            return NEW
        if self.now.claim.untested:
            return LISTED
        if word == UNTESTED:
            return FLOOR if self._below() > self._without_value() else CELLS
        if words == {word}:
            return SAME
        if by_earlier_rule(self.now) in words:
            return RULE
        return TEST if self.test_changes() else RESULTS

    @property
    def why(self) -> str:
        """What decides today's verdict, then how the test changed, in sentences."""
        return " ".join([*filter(None, [self._decided_by()]), *self.test_changes()])

    def test_changes(self) -> list[str]:
        """How the test differs from the earlier one, in sentences; empty if it does not."""
        now, before = self.now.claim, self.before
        bounds = (
            {claim.holds for claim in before} - {now.holds, ""} if now.holds and not now.untested else set()
        )
        return [
            *filter(None, [self._regrouped()]),
            *(f"Bound {_bound(old)} became {_bound(now.holds)}." for old in sorted(bounds)),
            *dict.fromkeys(claim.note for claim in before if claim.note),
        ]

    def _regrouped(self) -> str:
        """Whether claims were split or joined."""
        earlier, now = len(self.before), max((len(claim.successors) for claim in self.before), default=0)
        if earlier <= 1 and now <= 1:
            return ""
        if earlier == now:
            return f"{_NUMBERS[earlier]} claims were regrouped."
        return f"{_NUMBERS[earlier]} claim{'s' if earlier > 1 else ''} became {_NUMBERS[now].lower()}."

    def _decided_by(self) -> str:
        if self.now.claim.untested:
            return self.now.claim.untested
        if self.now.word == UNTESTED:
            return self._untested()
        if self.cause in (NEW, SAME):
            return ""
        word = by_earlier_rule(self.now)
        still = "still " if {claim.verdict for claim in self.before} == {word} else ""
        too = ", too" if word == self.now.word else ""
        return f"By the earlier rule, today's cases would {still}give *{word}*{too}."

    def _untested(self) -> str:
        total, missing, below = len(self.now.cases), self._without_value(), self._below()
        none = (
            "No case has a value yet."
            if missing == total
            else f"{missing} of {total} cases have no value yet."
        )
        short = f"In {below} of {total} cases, a network is below its floor."
        return " ".join(text for text, count in ((none, missing), (short, below)) if count)

    def _without_value(self) -> int:
        return sum(case.estimate is None for case in self.now.cases)

    def _below(self) -> int:
        deciding = [lowest(case.learned) for case in self.now.cases if case.estimate is not None]
        return sum(one is not None and bool(one.shortfall) for one in deciding)


def by_earlier_rule(verdict: ClaimVerdict) -> str:
    """Return the verdict of the earlier rule: refuted as soon as one case is against the claim."""
    tested = len(verdict.tested)
    if verdict.count(REFUTED):
        return REFUTED
    return UNTESTED if not tested else CONFIRMED if verdict.count(CONFIRMED) == tested else UNDECIDED


def read_earlier(path: Path = FILE) -> dict[str, list[EarlierClaim]]:
    """Return the claims of the earlier run by recipe.

    Raises:
        RecipeError: an error in the file; the message points at the line.
    """
    text = Text.read(path)
    return {
        recipe: [Place(text, recipe, i).fill(EarlierClaim, entry) for i, entry in enumerate(entries)]
        for recipe, entries in text.parsed().items()
    }


def changes(page: Page, earlier: Sequence[EarlierClaim]) -> list[ClaimChange]:
    """Return every claim of a page with its predecessors."""
    return [
        ClaimChange(verdict, tuple(claim for claim in earlier if verdict.claim.text in claim.successors))
        for verdict in page.verdicts
    ]


def counts_table(pages: Mapping[str, Page], earlier: Mapping[str, Sequence[EarlierClaim]]) -> str:
    """Return a table of claims by verdict, "earlier → now", with a row per page and one for all."""
    before = {name: Counter(claim.verdict for claim in earlier.get(name, ())) for name in pages}
    now = {name: Counter(verdict.word for verdict in page.verdicts) for name, page in pages.items()}
    before["all"], now["all"] = _total(before.values()), _total(now.values())
    columns = [("page", [f"[{name}]({name}.md)" for name in pages] + ["all"])]
    columns.append(("claims", [f"{before[name].total()} → {now[name].total()}" for name in now]))
    for word in WORDS:
        columns.append((word, [f"{before[name][word]} → {now[name][word]}" for name in now]))
    return grid(columns)


def causes_table(pages: Mapping[str, Page], earlier: Mapping[str, Sequence[EarlierClaim]]) -> str:
    """Return a table of how many of today's claims with a predecessor have their verdict for which reason."""
    found = Counter(one.cause for name, page in pages.items() for one in changes(page, earlier.get(name, ())))
    found[DROPPED] = sum(not claim.successors for claims in earlier.values() for claim in claims)
    shown = [cause for cause in _CAUSES if found[cause]]
    return grid(
        [("reason", [_CAUSES[cause] for cause in shown]), ("claims", [str(found[cause]) for cause in shown])]
    )


def changes_by_page(pages: Mapping[str, Page], earlier: Mapping[str, Sequence[EarlierClaim]]) -> str:
    """Return a section per page: each claim with its earlier verdict, today's, and the reason."""
    sections = []
    for name, page in pages.items():
        found, gone = changes(page, earlier.get(name, ())), _dropped(earlier.get(name, ()))
        rows = [(one.now.claim.text, _before(one), in_italics(one.now.shown), one.why) for one in found]
        rows += [(claim.text, in_italics(claim.shown), DROPPED, claim.note) for claim in gone]
        texts = [list(column) for column in zip(*rows, strict=True)]
        table = grid(list(zip(("claim", "earlier", "now", "why"), texts, strict=True)))
        sections.append(f"### [{page.outcomes.plan.recipe.title}]({name}.md)\n\n{table}")
    return "\n\n".join(sections)


def _before(change: ClaimChange) -> str:
    return "; ".join(in_italics(claim.shown) for claim in change.before) or NEW


def _dropped(earlier: Sequence[EarlierClaim]) -> list[EarlierClaim]:
    return [claim for claim in earlier if not claim.successors]


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter())


def _bound(holds: str) -> str:
    return f"`{holds.replace('!=', '≠')}`"
