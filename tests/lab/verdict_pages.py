"""Pages of recipes with given verdicts, for tests of the summaries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from invariscope.intervals import Interval
from invariscope.lab.recipes.cases import Case
from invariscope.lab.recipes.floors import Learned
from invariscope.lab.recipes.quantities import Estimate
from invariscope.lab.recipes.recipe import Claim, Floor
from invariscope.lab.recipes.verdicts import ClaimVerdict

FLOOR = Floor(cells=["net"], least=0.9, why="ours")


def case(word: str, *, value: float | None = 1.0, accuracy: float = 0.95) -> Case:
    """Return a case with that verdict of its own interval, which is firm unless undecided."""
    if value is None:
        return Case({}, (), None, reason="missing is not finished", verdict="not tested")
    learned = (Learned(f"net/{accuracy}", accuracy, FLOOR),)
    sure = 0.001 if word in ("confirmed", "refuted") else 0.5
    estimate = Estimate(value, Interval(value - 0.1, value + 0.1))
    return Case({}, ("cell",), estimate, learned=learned, verdict=word, p=sure, p_holm=sure)


def verdict(*cases: Case, text: str = "It holds.") -> ClaimVerdict:
    """Return a claim with these cases."""
    return ClaimVerdict(Claim(text=text, value={"quantity": "overall"}), cases)


def page(verdicts: list[ClaimVerdict], title: str = "A page") -> Any:
    """Return what the summaries read of a page."""
    outcomes = SimpleNamespace(plan=SimpleNamespace(recipe=SimpleNamespace(title=title)))
    return SimpleNamespace(verdicts=verdicts, outcomes=outcomes, finished="1 of 2")
