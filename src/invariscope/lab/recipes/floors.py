"""Floors: the accuracy that a network must reach before numbers that depend on it decide a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from invariscope.common.globs import matches, matches_any
from invariscope.common.registry import unknown
from invariscope.lab.recipes.cells import RecipePlan
from invariscope.lab.recipes.kinds.train import Train
from invariscope.lab.recipes.recipe import Floor, Recipe


@dataclass(frozen=True)
class Learned:
    """The test accuracy of a trained network, and the accuracy it must reach.

    Args:
        cell: its training cell.
        accuracy: accuracy on the unchanged test images; None if unknown.
        floor: the required accuracy; None if the recipe states none.
    """

    cell: str
    accuracy: float | None
    floor: Floor | None = None

    @property
    def margin(self) -> float:
        """Accuracy divided by the floor; below 1: too inaccurate; -inf: unknown accuracy; inf: no floor."""
        if self.floor is None:
            return math.inf
        return -math.inf if self.accuracy is None else self.accuracy / self.floor.bound

    @property
    def shortfall(self) -> str:
        """Why claims are not tested on this network; empty if it is accurate enough.

        >>> Learned("net", 0.61, Floor(cells=["net"], published=0.759)).shortfall
        'accuracy 0.61, below 0.683 (0.9 of the published 0.759)'
        >>> Learned("net", None, Floor(cells=["net"], least=0.86, why="ours")).shortfall
        'accuracy unknown'
        """
        if self.floor is None or self.margin >= 1:
            return ""
        if self.accuracy is None:
            return "accuracy unknown"
        return f"accuracy {self.accuracy:.3g}, below {self.floor.bound:.3g} ({_reason(self.floor)})"

    @property
    def beside(self) -> str:
        """The accuracy, followed by the published one or the floor; empty if neither is known.

        >>> Learned("net", 0.72, Floor(cells=["net"], published=0.759)).beside
        '0.72 (published 0.759)'
        """
        if self.floor is None:
            return "" if self.accuracy is None else f"{self.accuracy:.3g}"
        own = "unknown" if self.accuracy is None else f"{self.accuracy:.3g}"
        published = self.floor.published
        other = f"floor {self.floor.bound:.3g}" if published is None else f"published {published:.3g}"
        return f"{own} ({other})"


def lowest(learned: Sequence[Learned]) -> Learned | None:
    """Return the network with the lowest accuracy relative to its floor; None if there are no networks."""

    def order(one: Learned) -> tuple[float, float]:
        return one.margin, -math.inf if one.accuracy is None else one.accuracy

    return min(learned, key=order, default=None)


def floor_of(recipe: Recipe, cell: str) -> Floor | None:
    """Return the last floor with a pattern that matches the training cell; None if no floor does."""
    return next((floor for floor in reversed(recipe.floors) if matches_any(floor.cells, cell)), None)


def trained_below(plan: RecipePlan, name: str) -> tuple[str, ...]:
    """Return the training cells whose finished network a measuring cell uses.

    Networks before training ("CELL@0") and networks trained without labels are left out: they have no
    accuracy to compare with a floor.
    """
    cell = plan[name]
    if str(getattr(cell.options, "model", None)).endswith("@0"):
        return ()
    return tuple(need for need in cell.needs if isinstance(plan[need].options, Train))


def check_floors(plan: RecipePlan) -> None:
    """Reject floors that are incomplete, contradictory, or match no training run.

    Raises:
        RecipeError: an error in a floor; the message points at the line.
    """
    trained = [cell.name for cell in plan.cells if isinstance(cell.options, Train)]
    for number, floor in enumerate(plan.recipe.floors):
        place = plan.recipe.place("floors", number)
        named = "published" if floor.least is None else "least"
        if (floor.published is None) == (floor.least is None):
            raise place.error("a floor needs either `published` or `least`, not both", named)
        if floor.least is not None and not floor.why:
            raise place.error('a floor with `least` needs a reason: why = "..."', named)
        if not 0 < floor.bound <= 1:
            raise place.error(
                f"an accuracy is a fraction between 0 and 1, got a floor of {floor.bound:g}", named
            )
        if plan.recipe.narrowed and place.text is not plan.recipe.text:
            continue  # it may match training cells that this recipe leaves out
        for pattern in floor.cells:
            if not any(matches(pattern, name) for name in (*trained, *plan.left_out)):
                raise place.error(str(unknown("training run", pattern, trained)), f'"{pattern}"')


def _reason(floor: Floor) -> str:
    if floor.published is None:
        return floor.why
    return f"{floor.share:.3g} of the published {floor.published:.3g}"
