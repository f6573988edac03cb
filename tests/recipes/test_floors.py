"""Claims are not tested on networks that have not learned."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from invariscope.lab import recipes
from invariscope.lab.recipes.cases import trainings_of_claims
from invariscope.lab.recipes.floors import Learned, floor_of, lowest, trained_below
from invariscope.lab.recipes.quantities import Estimate, NotFinishedError
from invariscope.lab.recipes.quantities.base import QUANTITIES, around
from invariscope.lab.recipes.recipe import Claim, Floor, Recipe
from invariscope.lab.recipes.verdicts import verdicts

PUBLISHED = Floor(cells=["net/*"], published=0.759)


@dataclass
class Bench:
    """Trainings by seed: value, accuracy; None where the cell is not finished."""

    values: dict[str, float | None]
    accuracies: dict[str, float | None]

    def matching(self, patterns) -> list[str]:
        return [name for name in self.values if name in patterns]

    def learned(self, name: str) -> tuple[Learned, ...]:
        unfinished = self.values[name] is None
        return () if unfinished else (Learned(f"net/{name}", self.accuracies.get(name), PUBLISHED),)

    def finished_at(self, name: str) -> None:
        return None

    def result(self, name: str):
        raise AssertionError("the quantity below asks for no result")


@pytest.fixture(autouse=True)
def known_values(monkeypatch):
    def known_value(cells, *, cell):
        if cells.values[cell] is None:
            raise NotFinishedError(f"{cell} is not finished")
        return Estimate(cells.values[cell], around(cells.values[cell], 0.01, 7))

    monkeypatch.setitem(QUANTITIES, "known_value", known_value)


def judged(values: list[float | None], accuracies: list[float | None]):
    """The verdict on "the value is positive" over trainings with those values."""
    claim = Claim(
        text="", trainings={"seed": list(range(len(values)))}, holds="> 0",
        value={"quantity": "known_value", "cell": "s{seed}"},
    )  # fmt: skip
    recipe = Recipe(title="", source="", cells=[], claims=[claim])
    bench = Bench(*({f"s{i}": one for i, one in enumerate(column)} for column in (values, accuracies)))
    (verdict,) = verdicts(recipe, bench)
    return verdict


def test_the_lowest_accuracy_among_the_trainings_decides():
    fine = judged([1.0, 1.1, 1.2], [0.70, 0.69, 0.7])
    assert (fine.word, fine.untested) == ("confirmed", [])
    poor = judged([1.0, 1.1, 1.2], [0.7, 0.61, 0.68])
    assert (poor.word, poor.untested) == (
        "not tested",
        ["accuracy 0.61, below 0.683 (0.9 of the published 0.759)"],
    )
    assert poor.cases[0].estimate is not None
    assert poor.cases[0].estimate.value == pytest.approx(1.1)
    assert judged([1.0, 1.1, 1.2], [0.7, None, 0.7]).untested == ["accuracy unknown"]


def test_fewer_than_three_finished_trainings_are_not_tested():
    assert judged([1.0, None, 1.2], [0.7, 0.7, 0.7]).untested == ["2 of 3 training runs are finished"]
    assert judged([1.0, 1.2], [0.7, 0.7]).untested == ["2 of 2 training runs are finished; 3 are needed"]
    four = judged([1.0, None, 1.2, 1.1], [0.7, 0.1, 0.7, 0.7])
    assert four.cases[0].estimate is not None
    assert (four.word, four.cases[0].estimate.trainings) == ("confirmed", 3)


def test_a_floor_is_a_share_of_the_published_accuracy_or_stated():
    assert PUBLISHED.bound == pytest.approx(0.6831)
    assert Floor(cells=["*"], published=0.8, share=0.5).bound == pytest.approx(0.4)
    stated = Learned("net", 0.85, Floor(cells=["*"], least=0.86, why="as good as any"))
    assert stated.shortfall == "accuracy 0.85, below 0.86 (as good as any)"
    assert stated.beside == "0.85 (floor 0.86)"
    assert Learned("net", 0.86, stated.floor).shortfall == ""
    assert Learned("net", 0.1).shortfall == ""


def test_the_network_nearest_its_floor_decides():
    other = Floor(cells=["*"], least=0.2, why="")
    found = lowest([Learned("a", 0.70, PUBLISHED), Learned("b", 0.21, other), Learned("c", 0.9)])
    assert found is not None
    assert found.cell == "a"
    assert lowest([]) is None


def test_of_two_floors_the_last_counts():
    own = Floor(cells=["net/1"], least=0.5, why="")
    recipe = Recipe(title="", source="", cells=[], floors=[PUBLISHED, own])
    assert floor_of(recipe, "net/1") is own
    assert floor_of(recipe, "net/2") is PUBLISHED
    assert floor_of(recipe, "other") is None


def test_untrained_networks_need_no_floor(recipe):
    plan = recipes.load(str(recipe(('model = "train/simple_conv"', 'model = "train/simple_conv@0"'))))
    assert trained_below(plan, "accuracy") == ()
    assert trained_below(plan, "random/0") == ()
    assert trained_below(plan, "seeds/1") == ("seeded/1",)
    assert set(trainings_of_claims(plan)) == {
        *("train/simple_conv", "train/all_conv", "seeded/0", "seeded/1", "seeded/2"),
    }
