"""What a recipe may say, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from invariscope.lab import recipes
from invariscope.lab.recipes.cases import trainings_of_claims
from invariscope.lab.recipes.floors import floor_of


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_of_the_package_can_be_planned_and_every_training_of_a_claim_has_a_floor(name):
    for scale in recipes.read(name).scales:
        plan = recipes.load(name, scale=scale)
        places = {cell.name: number for number, cell in enumerate(plan.cells)}
        assert len(places) == len(plan.cells)
        assert all(places[need] < places[cell.name] for cell in plan.cells for need in cell.needs)
        without = [cell for cell in trainings_of_claims(plan) if floor_of(plan.recipe, cell) is None]
        assert not without, f"{name}.toml: state [[floors]] for {without}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "samples = 256",
            "smaples = 256",
            "unknown key 'smaples' in the options of a train cell. Closest: 'samples'",
        ),
        ("lr = 1e-2", 'lr = "fast"', "lr of the options of a train cell must be float, got 'fast'"),
        ("epochs = 3", "epochs = true", "must be int, got True"),
        ("epochs = 3", "epochs = -1", "epochs must be above 0; got epochs=-1"),
        ("set = { epochs = 1 }", "set = { epochs = 0 }", "epochs must be above 0; got epochs=0"),
        ("keep_epochs = [0, 1]", "keep_epochs = [0, 7]", "keep_epochs must be between 0 and 3"),
        ('", "prediction"]', '", "NormalizedVariance(spraed=1)"]', "Closest: 'spread'"),
        ('", "prediction"]', '", "NormalizedVariance(min_firing=-1)"]', "min_firing must be an integer"),
        ('", "prediction"]', '", "normalized_variance"]', "'normalized_variance' is requested 2 times"),
        ("Rotation.circle(8)", "Rotation.circle(0)", "m must be an integer, at least 1"),
        ("lr = 1e-2", "lr = 0.0", "lr must be above 0"),
        ("lr = 1e-2", "weight_decay = 0.1\nlr = 1e-2", 'only supported by optimizer="sgd"'),
        ('"all_conv"]', '"all_cnov"]', "unknown network 'all_cnov'. Closest: 'all_conv'"),
        ("filters = 2 }", "fitlers = 2 }", "unknown key 'fitlers' in the options of simple_conv"),
        ('data = "mnist_subset"', 'data = "mnist_subste"', "unknown data set 'mnist_subste'"),
        ('"Rotation.circle(8)"', '"Rotatoin.circle(8)"', "unknown transform 'rotatoin'. Closest: 'rotation'"),
        ('"normalized_variance", "pr', '"normalised_variance", "pr', "Closest: 'normalized_variance'"),
        ('model = "train/simple_conv"', 'model = "train/simple_cnov"', "Closest: 'train/simple_conv'"),
        ('kind = "train"', 'kind = "trian"', "unknown kind of cell 'trian'. Closest: 'train'"),
        ('is = { network = "all_conv"', 'is = { network = "al_conv"', "unknown value of network 'al_conv'"),
        ("is = { network", "is = { netwrok", "unknown axis 'netwrok'. Closest: 'network'"),
        ("set = { epochs", "sat = { epochs", "unknown key 'sat' in [[cells.when]]. Closest: 'set'"),
        ('network = "networks"', 'network = "netwroks"', "unknown list 'netwroks'. Closest: 'networks'"),
        ('"train/{network}"\nfor', '"train"\nfor', "two cells are called 'train'"),
        ('"train/{network}"\nfor', '"train/{netwrok}"\nfor', "unknown axis 'netwrok'"),
        ('quantity = "overall"', 'quantity = "overal"', "unknown quantity 'overal'. Closest: 'overall'"),
        ("x = 0.0", "y = 0.0", "unknown key 'y' in element_value"),
        ('cell = "nv/simple_conv" }', 'cell = "nv/simple_cnov" }', "unknown measuring cell 'nv/simple_cnov'"),
        ('holds = "not 0 ± 0.0001"', 'holds = "near 0"', "holds must be a comparison with a number"),
        ('holds = "not 0 ± 0.0001"', 'holds = "!= 0"', "state the margin that counts as a difference"),
        ('holds = "> 0"', 'holds = "> 0.1"', "states a margin, or a bound that is neither 0 nor 1: give the"),
        ('holds = "> 0"', 'holds = "not 0 ± 0.1"', "give the reason"),
        ('trainings = { seed = "seeds" }', 'trainings = { seed = "sedes" }', "unknown list 'sedes'"),
        (
            'trainings = { seed = "seeds" }',
            'trainings = { other = "seeds" }\nfor = { seed = "seeds" }',
            "the value is the same in all training runs",
        ),
        (
            'trainings = { seed = "seeds" }',
            'trainings = { seed = "seeds" }\nfor = { seed = "seeds" }',
            "'seed' is an axis of both `for` and `trainings`",
        ),
        ('"seeded/*"', '"sedeed/*"', "unknown training run 'sedeed/*'. Closest: 'seeded/"),
        ("least = 0.001", "least = 1.5", "a fraction between 0 and 1, got a floor of 1.5"),
        ("least = 0.001", "leest = 0.001", "unknown key 'leest' in [[floors]]. Closest: 'least'"),
        ("least = 0.001", "least = 0.001\npublished = 0.9", "either `published` or `least`, not both"),
        ('plot = "element_curve"', 'plot = "element_cruve"', "Closest: 'element_curve'"),
        ('format = "svg"', 'format = "gif"', "format must be svg or png"),
        ('format = "svg"', "options = { colour = 1 }", "element_curve has no option 'colour'"),
        ('title = "Two', 'titel = "Two', "unknown key 'titel' in a recipe. Closest: 'title'"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_closest_name(recipe, old, new, said):
    path = recipe((old, new))
    line = path.read_text().partition(new)[0].count("\n") + 1
    with pytest.raises(recipes.RecipeError) as error:
        recipes.load(str(path), scale="quick")
    assert said in str(error.value)
    assert str(error.value).startswith(f"tiny.toml, line {line}: ")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('untested = "nobody looked"', 'about = "nobody looked"', 162, "a reason why it is untested"),
        ('name = "accuracy"\n', "", 51, "[[cells]] lacks name"),
        ('why = "one image of a thousand"', "", 107, "a floor with `least` needs a reason"),
        ("least = 0.001", "", 105, "either `published` or `least`, not both"),
    ],
)
def test_what_has_no_line_of_its_own_is_found_by_its_entry(recipe, old, new, line, said):
    with pytest.raises(recipes.RecipeError) as error:
        recipes.load(str(recipe((old, new))), scale="paper")
    assert said in str(error.value)
    assert str(error.value).startswith(f"tiny.toml, line {line}: ")


def test_a_file_that_is_not_toml_is_named_with_its_line(recipe):
    with pytest.raises(recipes.RecipeError, match=r"tiny\.toml: Expected .* line 5"):
        recipes.load(str(recipe(("[scales]", "[scales"))))


def test_cells_that_need_each_other_are_refused(recipe):
    cycle = ("epochs = 3", 'epochs = 3\nstart = "train/{network}"')
    with pytest.raises(recipes.RecipeError, match="cycle: train/all_conv, train/simple_conv"):
        recipes.load(str(recipe(cycle)))


def test_a_recipe_that_does_not_exist_has_a_near_name():
    with pytest.raises(ValueError, match=r"unknown recipe 'quiroga2018'\. Closest: 'quiroga2019'"):
        recipes.load("quiroga2018")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml does not exist"):
        recipes.load("nowhere.toml")


def test_the_scale_changes_options_and_the_change_is_known(recipe):
    quick, paper = (recipes.load(str(recipe()), scale=scale) for scale in ("quick", "paper"))
    assert quick["train/all_conv"].shortened == {"epochs": (1, 3)}
    assert paper["train/all_conv"].shortened == {}
    assert (quick.left_out, paper.left_out) == (("random/1", "random/2"), ())


def test_a_pattern_brings_what_it_needs(recipe):
    plan = recipes.load(str(recipe()))
    found = plan.with_needs(plan.matching(["nv/*conv", "random/*"]))
    assert {cell.name for cell in found} == {
        *("nv/simple_conv", "nv/all_conv", "train/simple_conv", "train/all_conv", "random/0"),
    }
    with pytest.raises(ValueError, match="unknown cell 'nv/vgg'"):
        plan.matching(["nv/vgg"])
