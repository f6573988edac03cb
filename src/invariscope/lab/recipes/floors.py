"""Whether the trained networks that a number rests on have learned: accuracies and their floors."""

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
    """How well a trained network does on the test images, and how well it has to.

    Args:
        cell: its training.
        accuracy: on the test images as they are; None if unknown.
        floor: None if the recipe states none.
    """

    cell: str
    accuracy: float | None
    floor: Floor | None = None

    @property
    def margin(self) -> float:
        """Accuracy over floor: below 1 the network has not learned; -inf if unknown, inf without a floor."""
        if self.floor is None:
            return math.inf
        return -math.inf if self.accuracy is None else self.accuracy / self.floor.bound

    @property
    def shortfall(self) -> str:
        """Why nothing is tested on this network; empty if it is good enough.

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
        """The accuracy with what it is compared to; empty if neither is known.

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
    """The network that decides: the one with the lowest accuracy beside its floor; None if there is none."""

    def order(one: Learned) -> tuple[float, float]:
        return one.margin, -math.inf if one.accuracy is None else one.accuracy

    return min(learned, key=order, default=None)


def floor_of(recipe: Recipe, cell: str) -> Floor | None:
    """The last floor with a pattern that matches the training."""
    found = [floor for floor in recipe.floors if matches_any(floor.cells, cell)]
    return found[-1] if found else None


def trained_below(plan: RecipePlan, name: str) -> tuple[str, ...]:
    """The trainings whose finished network a measuring cell looks at.

    Not among them: random weights, networks as they were before training ("CELL@0"), and those trained
    without labels, which have no accuracy.
    """
    cell = plan[name]
    if str(getattr(cell.options, "model", None)).endswith("@0"):
        return ()
    return tuple(need for need in cell.needs if isinstance(plan[need].options, Train))


def check_floors(plan: RecipePlan) -> None:
    """Refuses floors that say too little or too much, or that are about no training.

    Raises:
        RecipeError: with the line.
    """
    trained = [cell.name for cell in plan.cells if isinstance(cell.options, Train)]
    for number, floor in enumerate(plan.recipe.floors):
        place = plan.recipe.place("floors", number)
        named = "published" if floor.least is None else "least"
        if (floor.published is None) == (floor.least is None):
            raise place.error("a floor has either a published accuracy or a least one", named)
        if floor.least is not None and not floor.why:
            raise place.error('a floor of your own has a reason: why = "..."', named)
        if not 0 < floor.bound <= 1:
            raise place.error(f"accuracies are shares between 0 and 1, got a floor of {floor.bound:g}", named)
        if plan.recipe.narrowed and place.text is not plan.recipe.text:
            continue  # it may be about trainings that the recipe does without
        for pattern in floor.cells:
            if not any(matches(pattern, name) for name in (*trained, *plan.left_out)):
                raise place.error(str(unknown("training", pattern, trained)), f'"{pattern}"')


def _reason(floor: Floor) -> str:
    if floor.published is None:
        return floor.why
    return f"{floor.share:.3g} of the published {floor.published:.3g}"
