"""The findings of all pages at a glance: claims, cases, accuracies and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from invariscope.lab.earlier import WORDS
from invariscope.lab.recipes import Page
from invariscope.lab.recipes.comparison import CONFIRMED, REFUTED, UNTESTED
from invariscope.lab.recipes.markdown import NONE, grid
from invariscope.lab.recipes.verdicts import ClaimVerdict


def verdict_table(pages: Mapping[str, Page]) -> str:
    """Return a table of finished cells, and of claims by verdict, with a row per page."""
    counts = {name: Counter(v.word for v in page.verdicts) for name, page in pages.items()}
    columns = [("page", [f"[{name}]({name}.md)" for name in pages])]
    columns.append(("finished cells", [page.finished for page in pages.values()]))
    columns.append(("claims", [str(count.total()) for count in counts.values()]))
    columns += [(word, [str(count[word]) for count in counts.values()]) for word in WORDS]
    return grid(columns)


def findings(pages: Mapping[str, Page]) -> str:
    """Return a section per page: a table of the claims that have values, and how many have none yet."""
    return "\n\n".join(_section(name, page) for name, page in pages.items())


def _section(name: str, page: Page) -> str:
    known = [v for v in page.verdicts if any(case.estimate is not None for case in v.cases)]
    waiting = len(page.verdicts) - len(known)
    parts = [f"### [{page.outcomes.plan.recipe.title}]({name}.md)"]
    if known:
        parts.append(_claims(known))
    if waiting:
        more = "more claim" if known else "claim"
        parts.append(f"{waiting} {more}{'s have' if waiting > 1 else ' has'} no value yet.")
    return "\n\n".join(parts)


def _claims(known: list[ClaimVerdict]) -> str:
    return grid(
        [
            ("claim", [verdict.claim.text for verdict in known]),
            ("verdict", [f"*{verdict.word}*" for verdict in known]),
            ("for", [str(verdict.counted(CONFIRMED)) for verdict in known]),
            ("against", [str(verdict.counted(REFUTED)) for verdict in known]),
            ("undecided", [str(_undecided(verdict)) for verdict in known]),
            ("not tested", [str(verdict.count(UNTESTED)) for verdict in known]),
            ("accuracies", [accuracies(verdict) for verdict in known]),
        ]
    )


def _undecided(verdict: ClaimVerdict) -> int:
    return len(verdict.tested) - verdict.counted(CONFIRMED) - verdict.counted(REFUTED)


def accuracies(verdict: ClaimVerdict) -> str:
    """Return the range of test accuracies of the networks behind the cases that have values."""
    networks = {one.cell: one for case in verdict.cases if case.estimate for one in case.learned}
    known = [one.accuracy for one in networks.values() if one.accuracy is not None]
    if not known:
        return NONE
    low, high = f"{min(known):.3f}", f"{max(known):.3f}"
    return low if low == high else f"{low} to {high}"
