"""Lists and cells that several recipes share."""

import pytest

from invariscope import recipes
from invariscope.recipes import recipe as recipe_module

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


def test_a_mistake_in_an_included_file_is_reported_with_that_file_and_line(own):
    with pytest.raises(recipes.RecipeError, match=r"networks.toml, line 10: unknown network 'lenett'"):
        recipes.load(own(shared=SHARED.replace('"lenet"', '"lenett"')))


def test_a_file_that_does_not_exist_is_named_with_the_closest(own):
    with pytest.raises(recipes.RecipeError, match=r"line 4: unknown file to include 'network'.*'networks'"):
        recipes.load(own(own=OWN.replace('["networks"]', '["network"]')))


def test_an_included_file_holds_no_claims(own):
    with pytest.raises(recipes.RecipeError, match=r"networks.toml, line \d+: unknown key 'claims'"):
        recipes.load(own(shared=SHARED + '\n[[claims]]\ntext = "x"\n'))
