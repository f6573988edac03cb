"""A figure per claim: all its cases, with the range in which the claim holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from invariscope.lab.plots.claim_cases import ClaimCase, ClaimCases
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.comparison import Comparison
from invariscope.lab.recipes.figures.declared import figure_file
from invariscope.lab.recipes.figures.drawing import draw_panels, save_figure
from invariscope.lab.recipes.verdicts import ClaimVerdict

# A claim with fewer cases is read more easily from its table.
FEWEST = 3


def draw_claims(found: Sequence[ClaimVerdict], page: Path) -> dict[str, Path]:
    """Draw each claim that has at least three cases with values; return paths relative to the page."""
    drawn: dict[str, Path] = {}
    for number, verdict in enumerate(found, start=1):
        cases = [case for case in verdict.cases if case.estimate is not None]
        if len(cases) >= FEWEST:
            path = figure_file(f"claim_{number}", page, "svg")
            save_figure(draw_panels([("", _prepared(verdict, cases))]), page.parent / path)
            drawn[verdict.claim.text] = path
    return drawn


def _prepared(verdict: ClaimVerdict, cases: Sequence[Case]) -> ClaimCases:
    axes = [axis for axis in cases[0].axes if len({str(case.axes[axis]) for case in verdict.cases}) > 1]
    comparison = Comparison.read(verdict.claim.holds)
    rows = [ClaimCase(_name(case, axes), *_numbers(case), case.verdict) for case in cases]
    least, most, beyond = comparison.least, comparison.most, comparison.beyond
    return ClaimCases.prepare(rows, least=least, most=most, beyond=beyond, axis=_axis(verdict, comparison))


def _axis(verdict: ClaimVerdict, comparison: Comparison) -> str:
    between = not comparison.beyond and math.isfinite(comparison.least + comparison.most)
    return f"value; the claim holds if it is {'within ' if between else ''}{verdict.claim.holds}"


def _name(case: Case, axes: Sequence[str]) -> str:
    return ", ".join(str(case.axes[axis]) for axis in axes)


def _numbers(case: Case) -> tuple[float, float, float]:
    if case.estimate is None:
        return math.nan, math.nan, math.nan
    return case.estimate.value, case.estimate.interval.low, case.estimate.interval.high
