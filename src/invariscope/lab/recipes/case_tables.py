"""The cases of tables and claims as Markdown: axes, values, intervals, accuracies and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.floors import lowest
from invariscope.lab.recipes.frozen import FreezeHistory
from invariscope.lab.recipes.markdown import NONE, Column, grid
from invariscope.lab.recipes.verdicts import ClaimVerdict
from invariscope.plots.shared.digits import probability
from invariscope.plots.shared.labels import interval, number, outside_note

RULE = (
    "A claim is *confirmed* if it holds over the whole 95 % interval in every case that could be tested. It "
    "is *refuted* if it fails over the whole interval in every case, or if more than half of the cases are "
    "against it and none is for it. It is *mixed* if some cases are for it and some against it, and "
    "*undecided* otherwise. Unless all cases agree, a case counts as for or against only if it remains so "
    "after Holm's adjustment for the number of cases (p at most 0.05). If fewer than half of the cases could "
    "be tested, the claim is *not tested*."
)


def axis_columns(cases: Sequence[Case]) -> list[Column]:
    """Return one column per axis."""
    axes = list(cases[0].axes) if cases else []
    return [(axis, [str(case.axes[axis]) for case in cases]) for axis in axes]


def number_columns(cases: Sequence[Case], heading: str) -> list[Column]:
    """Return columns of values, intervals and, if any case has several, numbers of training runs."""
    return [
        (heading, [NONE if case.estimate is None else number(case.estimate.value) for case in cases]),
        ("95 % interval", [case_interval(case) for case in cases]),
        ("trainings", _trainings(cases)),
    ]


def accuracy_column(cases: Sequence[Case]) -> Column:
    """Return a column with the accuracy of the network that decides whether each case is tested."""
    deciding = [lowest(case.learned) for case in cases]
    texts = ["" if one is None else one.beside for one in deciding]
    return "accuracy", [text or NONE for text in texts] if any(texts) else texts


def interval_notes(cases: Sequence[Case]) -> list[str]:
    """Return notes on what the intervals cover and on values outside them."""
    known = [case.estimate for case in cases if case.estimate is not None]
    over = sorted({estimate.covers for estimate in known if estimate.interval.low <= estimate.interval.high})
    named = ["samples only" if one == "samples" else one for one in over]
    rows = [{"value": estimate.value, **estimate.interval.columns} for estimate in known]
    notes = [f"Intervals are over {' or '.join(named)}."] if named else []
    return [*notes, *outside_note(rows)]


def claims_table(found: Sequence[ClaimVerdict], history: FreezeHistory | None) -> str:
    """Return a table with one row per claim."""
    return grid(
        [
            ("claim", [_text(verdict, history) for verdict in found]),
            ("verdict", [in_italics(verdict.shown) for verdict in found]),
            ("not tested", [_untested(verdict) for verdict in found]),
            ("seen before", [_seen(verdict, history) for verdict in found]),
            ("how it is tested", [_how(verdict) for verdict in found]),
        ]
    )


def case_by_case(verdict: ClaimVerdict, history: FreezeHistory | None, figure: str = "") -> str:
    """Return a section with the cases of a claim that have a value; empty if none has.

    Args:
        verdict: the claim and its cases.
        history: freezes of the recipe.
        figure: Markdown of the figure of the cases, above their table.
    """
    cases, claim = [case for case in verdict.cases if case.estimate is not None], verdict.claim
    if not cases:
        return ""
    notes = [f"Holds if the value is {claim.holds}{f' ({why})' if (why := _why(verdict)) else ''}."]
    seen = [history is not None and history.seen_before(claim.text, case.finished) for case in cases]
    columns = [
        *axis_columns(cases),
        *number_columns(cases, "value"),
        accuracy_column(cases),
        ("p", [probability(case.p) for case in cases]),
        ("p (Holm)", [probability(case.p_holm) for case in cases]),
        ("seen before", ["yes" if one else "" for one in seen]),
        ("verdict", [f"*{case.verdict}*" + (f": {case.reason}" if case.reason else "") for case in cases]),
    ]
    parts = [f"### {claim.text}", " ".join([*notes, *interval_notes(cases)]), figure, grid(columns)]
    return "\n\n".join(part for part in [*parts, without_value(verdict.cases, "case")] if part)


def without_value(cases: Sequence[Case], what: str) -> str:
    """Return a sentence on the cases that have no value, and the most common reasons; empty if all have one.

    Args:
        cases: all cases.
        what: what a case is, in the singular.
    """
    reasons = Counter(case.reason for case in cases if case.estimate is None)
    if not reasons:
        return ""
    named = [text if count == 1 else f"{text} (×{count})" for text, count in reasons.most_common(3)]
    more = "; …" if len(reasons) > len(named) else ""
    one = reasons.total() == len(cases) == 1
    count = "" if one else f" for {reasons.total()} of {len(cases)} {what}{'s' if len(cases) > 1 else ''}"
    return f"No value{count}: {'; '.join(named)}{more}."


def seen_note(found: Sequence[ClaimVerdict], history: FreezeHistory | None) -> str:
    """Return an explanation of "seen before"; empty if it applies to no claim."""
    if not any(_seen(verdict, history) for verdict in found):
        return ""
    return (
        "*Seen before*: cases with results that were finished before the claim was frozen in its present "
        "form; they need a run with fresh seeds (`--seeds`)."
    )


def case_interval(case: Case) -> str:
    """Return the interval of a case as text."""
    if case.estimate is None:
        return NONE
    around = case.estimate.interval
    return interval(around.low, around.high, value=case.estimate.value, corrected=around.centre)


def _trainings(cases: Sequence[Case]) -> list[str]:
    counts = [0 if case.estimate is None else case.estimate.trainings for case in cases]
    several = any(count > 1 for count in counts)
    return [str(count) if count else NONE for count in counts] if several else [""] * len(counts)


def in_italics(verdict: str) -> str:
    """Return a verdict with its word in italics.

    >>> in_italics("mixed: 5 of 8 for, 2 against")
    '*mixed*: 5 of 8 for, 2 against'
    """
    word, colon, counts = verdict.partition(":")
    return f"*{word}*{colon}{counts}"


def _text(verdict: ClaimVerdict, history: FreezeHistory | None) -> str:
    text = verdict.claim.text
    changed = "" if history is None else history.changed(text)
    return f"{text} ({changed})" if changed else text


def _untested(verdict: ClaimVerdict) -> str:
    """Return how many cases were not tested, and the most common reasons."""
    reasons = Counter(verdict.untested)
    if not reasons:
        return ""
    first = [reason if count == 1 else f"{reason} (×{count})" for reason, count in reasons.most_common(2)]
    more = "; …" if len(reasons) > len(first) else ""
    return f"{reasons.total()} of {len(verdict.cases)}: {'; '.join(first)}{more}"


def _seen(verdict: ClaimVerdict, history: FreezeHistory | None) -> str:
    if history is None:
        return ""
    seen = sum(history.seen_before(verdict.claim.text, case.finished) for case in verdict.cases)
    return f"{seen} of {len(verdict.cases)}" if seen else ""


def _how(verdict: ClaimVerdict) -> str:
    claim = verdict.claim
    margin = f"{claim.holds}: {_why(verdict)}." if claim.why else ""
    return claim.untested or " ".join(filter(None, [claim.about.strip(), margin])) or NONE


def _why(verdict: ClaimVerdict) -> str:
    return " ".join(verdict.claim.why.split()).rstrip(".")
