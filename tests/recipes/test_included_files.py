"""Lists and cells that several recipes share."""

import pytest

from invariscope.lab import recipes
from invariscope.lab.recipes import recipe as recipe_module

OWN = """
title = "Own"
source = "nobody"
include = ["networks"]
[scales]
paper = "all"
[lists]
seeds = [5]
[[cells]]
kind = "measure"
name = "nv/{seed}"
for = { seed = "seeds" }
[cells.options]
model = "net/{seed}"
data = "mnist_subset"
transform = "QuarterTurns()"
measures = ["normalized_variance"]
"""
SHARED = """
[lists]
seeds = [0, 1]
[[cells]]
kind = "train"
name = "net/{seed}"
for = { seed = "seeds" }
[cells.options]
data = "mnist_subset"
network = "lenet"
epochs = 1
seed = "{seed}"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(recipe_module, "SHARED", tmp_path / "shared")

    def written(own=OWN, shared=SHARED):
        (tmp_path / "shared" / "networks.toml").write_text(shared)
        (tmp_path / "own.toml").write_text(own)
        return str(tmp_path / "own.toml")

    return written


def test_included_cells_come_first_and_a_list_of_the_recipe_replaces_one_of_the_same_name(own):
    assert [cell.name for cell in recipes.load(own()).cells] == ["net/5", "nv/5"]


RULE = """
[[cells.when]]
is = { seed = 1 }
set = { epochs = 2 }
"""


def test_included_cells_may_have_rules_for_values_that_the_list_of_the_recipe_leaves_out(own):
    assert recipes.load(own(shared=SHARED + RULE))["net/5"].options.epochs == 1
    again = OWN.replace("seeds = [5]", "seeds = [1]")
    assert recipes.load(own(own=again, shared=SHARED + RULE))["net/1"].options.epochs == 2
    with pytest.raises(recipes.RecipeError, match="unknown value of seed '7'"):
        recipes.load(own(shared=SHARED + RULE.replace("seed = 1", "seed = 7")))


FLOOR = """
[[floors]]
cells = ["net/1"]
least = 0.5
why = "half is right"
"""


def test_floors_of_included_trainings_that_the_recipe_leaves_out_are_passed_over(own):
    assert len(recipes.load(own(shared=SHARED + FLOOR)).recipe.floors) == 1
    with pytest.raises(recipes.RecipeError, match=r"own.toml, line \d+: unknown training run 'net/1'"):
        recipes.load(own(own=OWN + FLOOR))
    whole = OWN.replace("seeds = [5]", "seeds = [0, 1]")
    with pytest.raises(recipes.RecipeError, match=r"networks.toml, line \d+: unknown training run 'net/7'"):
        recipes.load(own(own=whole, shared=SHARED + FLOOR.replace("net/1", "net/7")))


def test_a_mistake_in_an_included_file_is_reported_with_that_file_and_line(own):
    with pytest.raises(recipes.RecipeError, match=r"networks.toml, line 10: unknown network 'lenett'"):
        recipes.load(own(shared=SHARED.replace('"lenet"', '"lenett"')))


def test_a_file_that_does_not_exist_is_named_with_the_closest(own):
    with pytest.raises(recipes.RecipeError, match=r"line 4: unknown file to include 'network'.*'networks'"):
        recipes.load(own(own=OWN.replace('["networks"]', '["network"]')))


def test_an_included_file_holds_no_claims(own):
    with pytest.raises(recipes.RecipeError, match=r"networks.toml, line \d+: unknown key 'claims'"):
        recipes.load(own(shared=SHARED + '\n[[claims]]\ntext = "x"\n'))
