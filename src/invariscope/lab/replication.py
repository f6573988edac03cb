"""Cases of claims from training runs with fresh seeds, beside those from the recipe's own seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from invariscope.lab.recipes import Page
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.markdown import NONE, grid
from invariscope.lab.recipes.verdicts import ClaimVerdict
from invariscope.plots.shared.labels import interval, number

_NONE_YET = "No case has been tested on fresh training runs yet."


def replications(pages: Mapping[str, Page], fresh: Mapping[str, Sequence[ClaimVerdict]]) -> str:
    """Return a section per recipe with every case that has a value from both sets of training runs."""
    parts = []
    for name, verdicts in fresh.items():
        rows = [
            row for first, second in _pairs(pages[name].verdicts, verdicts) for row in _rows(first, second)
        ]
        if rows:
            agreeing = sum(row[3] == row[5] for row in rows)
            headings = ("claim", "case", "first", "verdict", "fresh", "fresh verdict")
            table = grid([(heading, [row[i] for row in rows]) for i, heading in enumerate(headings)])
            count = f"{agreeing} of {len(rows)} cases have the same verdict."
            parts.append(f"### {pages[name].outcomes.plan.recipe.title}, fresh seeds\n\n{count}\n\n{table}")
    return "\n\n".join(parts) or _NONE_YET


def _pairs(
    first: Sequence[ClaimVerdict], fresh: Sequence[ClaimVerdict]
) -> Iterator[tuple[ClaimVerdict, ClaimVerdict]]:
    own = {verdict.claim.text: verdict for verdict in first}
    return ((own[verdict.claim.text], verdict) for verdict in fresh if verdict.claim.text in own)


def _rows(first: ClaimVerdict, fresh: ClaimVerdict) -> Iterator[tuple[str, ...]]:
    """Yield a row per case that has both values and does not come from the same cells."""
    own = {_named(case): case for case in first.cases if case.estimate is not None}
    for case in fresh.cases:
        name = _named(case)
        if case.estimate is not None and name in own and own[name].cells != case.cells:
            before = own[name]
            shown = (_value(before), f"*{before.verdict}*", _value(case), f"*{case.verdict}*")
            yield first.claim.text, name or NONE, *shown


def _named(case: Case) -> str:
    return ", ".join(map(str, case.axes.values()))


def _value(case: Case) -> str:
    if case.estimate is None:
        return NONE
    value, around = case.estimate.value, case.estimate.interval
    return f"{number(value)} ({interval(around.low, around.high, value=value, corrected=around.centre)})"
