"""What the recipes on rotation invariance share, and what they measure with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shelf import Shelf

from invariscope.intervals import jackknife
from invariscope.lab import recipes
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.measure import MeasureCell
from invariscope.lab.recipes.quantities import NoValueError, evaluate
from invariscope.results import storage
from invariscope.results.result import Result

SIZES = [20] * 8
RECIPES = ("quiroga2019", "quiroga2020", "other_measures")


@pytest.fixture(scope="module")
def plans():
    return {name: recipes.load(name, scale="campaign") for name in RECIPES}


def test_networks_on_upright_cifar10_are_the_cells_of_the_shared_sweep(plans, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(
        'title = ""\nsource = ""\ninclude = ["cifar10_networks"]\n[scales]\npaper = ""\ncampaign = ""\n'
    )
    sweep = recipes.load(str(path), scale="campaign")
    for ours, theirs in (
        ("simple_conv", "simple_conv"),
        ("all_conv", "all_conv"),
        ("vgg16", "vgg16"),
        ("resnet", "resnet18"),
    ):
        for seed in (0, 1, 2):
            cell = plans["quiroga2019"][f"net/cifar10/{ours}/plain/{seed}"]
            assert cell.options == sweep[f"net/cifar10/{theirs}/{seed}"].options


def test_networks_on_mnist_are_the_same_cells_in_all_three_recipes_and_as_published(plans):
    for name in ("net/mnist/simple_conv/plain/0", "net/mnist/all_conv/rotated/4"):
        first, *others = (plans[recipe][name] for recipe in RECIPES)
        assert all(cell.options == first.options for cell in others)
        assert set(first.shortened) == {"precision"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_training_of_the_recipe_is_graded_rounded_and_has_a_floor(plans, name):
    from invariscope.lab.recipes.floors import floor_of

    plan = plans[name]
    trained = [cell for cell in plan.cells if cell.kind == "train"]
    assert all(cell.options.graded and cell.options.weights == "float16" for cell in trained)
    assert all(floor_of(plan.recipe, cell.name) is not None for cell in trained)


def test_left_out_seeds_are_not_a_mistake_if_other_seeds_take_their_place():
    plan = recipes.load("quiroga2019", scale="campaign", seeds=[100, 101, 102])
    assert "net/mnist/vgg16/plain/102" in {cell.name for cell in plan.cells}
    assert not any(cell.name.endswith("plain/0") for cell in plan.cells)


MEASURE = MeasureCell(
    data="mnist_subset", network="simple_conv", network_options={"filters": 2, "fc": 4}, samples=64,
    transform="QuarterTurns()", measures=["normalized_variance"], layers=["conv1", "relu1", "fc1"],
)  # fmt: skip


def test_maps_are_kept_of_the_layers_that_are_named_alone(tmp_path):
    whole = _ran(MEASURE, tmp_path / "whole")
    some = _ran(replace(MEASURE, map_layers=["relu*"]), tmp_path / "some")
    assert {key[1] for key in whole.maps} == {"conv1", "relu1", "fc1"}
    assert {key[1] for key in some.maps} == {"relu1"}
    key = ("normalized_variance", "relu1", "all", 0)
    assert np.array_equal(some.maps[key], whole.maps[key], equal_nan=True)
    assert some.rows == whole.rows


def test_an_illustrated_cell_holds_feature_maps_along_an_orbit_even_without_maps(tmp_path):
    found = _ran(replace(MEASURE, illustrated=True, maps=[]), tmp_path)
    assert found.examples["orbit"].shape == (4, 1, 28, 28)
    maps = [name for name in found.examples if name.startswith("feature:")]
    assert {name.split(":")[2] for name in maps} <= {"conv1", "relu1"}
    assert maps
    assert not found.arrays


def _ran(cell: MeasureCell, folder) -> Result:
    folder.mkdir(exist_ok=True)
    cell.run(CellContext(folder, folder))
    return storage.load(folder / "result")


def measured(**values: list[float]) -> Result:
    """The measures with these values per layer."""
    rows = []
    for measure, numbers in values.items():
        for layer, value in enumerate(numbers):
            # Without group 0 the first two layers change places.
            omitted = [value] * 8
            if measure == "nv" and layer < 2:
                omitted[0] = numbers[1 - layer]
            rows.append({
                "measure": measure, "layer": f"l{layer}", "call": 0, "stratum": "all", "value": value,
                "replicates": omitted, "group_sizes": SIZES,
            })  # fmt: skip
    return Result(rows=tuple(rows), provenance={})


def agreement(**values: list[float]):
    spec = {"quantity": "rank_agreement", "cell": "x", "measure": "nv", "other": "other"}
    return evaluate(Shelf(x=measured(**values)), spec)


def test_the_agreement_of_two_measures_is_spearmans_correlation_with_the_jackknifes_interval():
    # Ranks 1 2 3 4 beside 1 3 2 4: 1 - 6 * 2 / 60 = 0.8. Without group 0, 2 1 3 4: 1 - 6 * 6 / 60 = 0.4.
    found = agreement(nv=[0.1, 0.2, 0.3, 0.9], other=[5.0, 7.0, 6.0, 8.0])
    assert found.value == pytest.approx(0.8)
    expected = jackknife(0.8, [0.4] + [0.8] * 7, SIZES)
    assert found.interval.low == pytest.approx(max(expected.low, -1))
    assert found.interval.high == pytest.approx(min(expected.high, 1))


def test_layers_without_a_finite_value_of_both_measures_have_no_part_in_the_agreement():
    nan = float("nan")
    found = agreement(nv=[0.1, 0.2, nan, 0.3, 0.9], other=[4.0, 3.0, 9.0, 2.0, 1.0])
    assert found.value == pytest.approx(-1)
    with pytest.raises(NoValueError, match="a rank correlation needs 4 layers; x has 3"):
        agreement(nv=[0.1, 0.2, nan, 0.3], other=[1.0, 2.0, 3.0, 4.0])
