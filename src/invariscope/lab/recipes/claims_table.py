"""The claims of a recipe on its page: verdicts with counts, and every case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from invariscope.lab.recipes.case_table import accuracy_column, axis_columns, number_columns, over_note
from invariscope.lab.recipes.frozen import FreezeHistory
from invariscope.lab.recipes.markdown import NONE, grid
from invariscope.lab.recipes.verdicts import ClaimVerdict
from invariscope.plots.shared.digits import probability

RULE = (
    "A claim is *confirmed* if it holds over the whole 95 % interval in every case that could be tested, and "
    "*refuted* if it fails over the whole interval in every case, or if more than half of the cases are "
    "against it and none is for it. It is *mixed* if some cases are for it and some against it, and "
    "*undecided* otherwise. Unless all cases agree, only those are counted as for or against that remain so "
    "after Holm's adjustment for their number (p at most 0.05). If fewer than half of the cases could be "
    "tested, the claim is *not tested*."
)


def claims_table(found: Sequence[ClaimVerdict], history: FreezeHistory | None) -> str:
    """A row per claim."""
    return grid(
        [
            ("claim", [_text(verdict, history) for verdict in found]),
            ("verdict", [_shown(verdict) for verdict in found]),
            ("not tested", [_untested(verdict) for verdict in found]),
            ("seen before", [_seen(verdict, history) for verdict in found]),
            ("how it is tested", [_how(verdict) for verdict in found]),
        ]
    )


def case_by_case(verdict: ClaimVerdict, history: FreezeHistory | None) -> str:
    """All cases of a claim; empty for one that is listed without a test."""
    cases, claim = verdict.cases, verdict.claim
    if not cases:
        return ""
    said = [f"Holds where the value is {claim.holds}{f' ({why})' if (why := _why(verdict)) else ''}."]
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
    return f"### {claim.text}\n\n{' '.join([*said, *over_note(cases)])}\n\n{grid(columns)}"


def seen_note(found: Sequence[ClaimVerdict], history: FreezeHistory | None) -> str:
    """What "seen before" means, if the mark is on the page."""
    if not any(_seen(verdict, history) for verdict in found):
        return ""
    return (
        "*Seen before*: cases with results that were finished before the claim was frozen in its present "
        "form; they need a run with fresh seeds (`--seeds`)."
    )


def _shown(verdict: ClaimVerdict) -> str:
    word, colon, counts = verdict.shown.partition(":")
    return f"*{word}*{colon}{counts}"


def _text(verdict: ClaimVerdict, history: FreezeHistory | None) -> str:
    text = verdict.claim.text
    changed = "" if history is None else history.changed(text)
    return f"{text} ({changed})" if changed else text


def _untested(verdict: ClaimVerdict) -> str:
    """How many cases were not tested, and why."""
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
