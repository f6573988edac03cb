"""What tables and claims show of their cases: axes, trainings, values, intervals, accuracies."""

from __future__ import annotations

from collections.abc import Sequence

from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.floors import lowest
from invariscope.lab.recipes.markdown import NONE, Column
from invariscope.plots.shared.labels import interval, number, outside_note


def axis_columns(cases: Sequence[Case]) -> list[Column]:
    """A column per axis."""
    axes = list(cases[0].axes) if cases else []
    return [(axis, [str(case.axes[axis]) for case in cases]) for axis in axes]


def number_columns(cases: Sequence[Case], heading: str) -> list[Column]:
    """The value, its interval, and the number of trainings if any value is over several."""
    return [
        (heading, [NONE if case.estimate is None else number(case.estimate.value) for case in cases]),
        ("95 % interval", [_interval(case) for case in cases]),
        ("trainings", _trainings(cases)),
    ]


def accuracy_column(cases: Sequence[Case]) -> Column:
    """The accuracy of the network that decides whether a case is tested, beside its floor."""
    deciding = [lowest(case.learned) for case in cases]
    texts = ["" if one is None else one.beside for one in deciding]
    return "accuracy", [text or NONE for text in texts] if any(texts) else texts


def over_note(cases: Sequence[Case]) -> list[str]:
    """What the intervals are over, and what a number in front of one is."""
    known = [case.estimate for case in cases if case.estimate is not None]
    over = sorted({estimate.covers for estimate in known if estimate.interval.low <= estimate.interval.high})
    named = ["samples only" if one == "samples" else one for one in over]
    rows = [{"value": estimate.value, **estimate.interval.columns} for estimate in known]
    said = [f"Intervals are over {' or '.join(named)}."] if named else []
    return [*said, *outside_note(rows)]


def _interval(case: Case) -> str:
    if case.estimate is None:
        return NONE
    around = case.estimate.interval
    return interval(around.low, around.high, value=case.estimate.value, corrected=around.centre)


def _trainings(cases: Sequence[Case]) -> list[str]:
    counts = [0 if case.estimate is None else case.estimate.trainings for case in cases]
    several = any(count > 1 for count in counts)
    return [str(count) if count else NONE for count in counts] if several else [""] * len(counts)
