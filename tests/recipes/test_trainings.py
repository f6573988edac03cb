"""Cells that train without labels or look at other images, and numbers over several trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import invariscope as iv
from invariscope import zoo
from invariscope.lab import recipes
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.measure import MeasureCell
from invariscope.lab.recipes.kinds.train import Train
from invariscope.lab.recipes.kinds.unlabelled import Contrast, Recognize
from invariscope.results import storage

SMALL = {"filters": 2, "fc": 8}
CONTRAST = Contrast(
    data="mnist_subset", network="simple_conv", network_options=SMALL, samples=96, batch_size=48, epochs=2,
    views=["Translation()", "QuarterTurns()"], intensity=0.2,
)  # fmt: skip
RECOGNIZE = Recognize(
    data="mnist_subset", network="simple_conv", network_options=SMALL, samples=96, batch_size=48, epochs=2,
    transform="QuarterTurns()",
)  # fmt: skip
MEASURE = MeasureCell(
    data="mnist_subset", network="simple_conv", network_options=SMALL, samples=64, layers=["log_softmax"],
    transform="QuarterTurns()", measures=["EquivarianceDeviation(kind='output')", "prediction"],
)  # fmt: skip


def ran(cell, folder: Path, **inputs: Path) -> Path:
    folder.mkdir()
    cell.check()
    cell.run(CellContext(folder, folder / "kept", inputs))
    return folder


def rows(cell, folder: Path) -> dict[str, dict]:
    return {row["measure"]: row for row in storage.load(ran(cell, folder) / "result").rows}


def test_a_network_trained_without_labels_takes_a_probe_that_leaves_its_features(tmp_path):
    encoder = ran(CONTRAST, tmp_path / "encoder")
    expected = zoo.build("simple_conv", **SMALL)
    data = zoo.load("mnist_subset", split="train", samples=96).standardized()
    views = (iv.Translation(), iv.QuarterTurns())
    zoo.contrastive(expected, data, epochs=2, views=views, intensity=0.2, batch_size=48, channels_last=True)
    model, card = zoo.load_network(encoder / "network")
    assert all(map(torch.equal, model.state_dict().values(), expected.state_dict().values()))
    assert card.training is not None
    assert card.training["intensity"] == 0.2
    probe = Train(
        data="mnist_subset", network="simple_conv", network_options=SMALL, samples=96, epochs=1,
        start="encoder", trained=["fc2.*"],
    )  # fmt: skip
    probed = zoo.load_network(ran(probe, tmp_path / "probe", encoder=encoder) / "network")[0].state_dict()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, probed[name])}
    assert changed == {"fc2.weight", "fc2.bias"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": ["Rotatoin(3)"]}, "Closest: 'rotation'"),
        ({"views": []}, "give transforms as views"),
        ({"epochs": 0}, "epochs must be above 0"),
        ({"network": "simple_cnov"}, "Closest: 'simple_conv'"),
    ],
)
def test_a_contrast_cell_that_cannot_run_is_refused_before_it_does(options, said):
    with pytest.raises(ValueError, match=said):
        replace(CONTRAST, **({"intensity": 0.0} | options)).check()


def test_a_training_cell_has_all_settings_and_keeps_averaged_networks(tmp_path):
    settings = {
        "optimizer": "sgd", "lr": 0.05, "schedule": "one_cycle", "weight_decay": 5e-4, "label_smoothing": 0.1,
        "flip": True, "crop_px": 2, "ema": 0.9, "batch_size": 32, "channels_last": True, "seed": 3,
    }  # fmt: skip
    cell = Train(
        data="mnist_subset", network="airbench", network_options={"width": 4}, samples=96, epochs=2,
        standardize=False, keep_epochs=[0, 2], **settings,
    )  # fmt: skip
    folder = ran(cell, tmp_path / "cell")
    expected = zoo.build("airbench", width=4, seed=3)
    zoo.train(expected, zoo.load("mnist_subset", split="train", samples=96, seed=3), epochs=2, **settings)
    for name in ("network", "network@2"):
        found = zoo.load_network(folder / name)[0]
        assert all(map(torch.equal, found.state_dict().values(), expected.state_dict().values()))
    start = zoo.load_network(folder / "network@0")[0]
    assert torch.equal(start.whiten.weight, expected.whiten.weight)
    assert not torch.equal(start.fc.weight, expected.fc.weight)


def test_a_network_learns_which_element_was_applied(tmp_path):
    encoder = ran(RECOGNIZE, tmp_path / "encoder")
    expected = zoo.build("simple_conv", **SMALL)
    data = zoo.load("mnist_subset", split="train", samples=96).standardized()
    turns = iv.QuarterTurns()
    zoo.recognize_elements(expected, data, epochs=2, transform=turns, batch_size=48, channels_last=True)
    model, card = zoo.load_network(encoder / "network")
    assert all(map(torch.equal, model.state_dict().values(), expected.state_dict().values()))
    assert card.training is not None
    assert card.training["recognized"]["family"] == "quarter_turns"
    assert RECOGNIZE.time_one_unit({}, None) > 0
    assert RECOGNIZE.cost_units({})[0] != CONTRAST.cost_units({})[0]


def test_a_cell_whose_elements_cannot_be_told_apart_is_refused_before_it_runs():
    with pytest.raises(ValueError, match="two or more elements, the same for every image"):
        replace(RECOGNIZE, transform="Rotation.uniform(4)").check()


def test_cells_that_differ_in_seed_and_size_are_timed_once():
    alike, pieces = CONTRAST.cost_units({})
    assert pieces == 2 * 96
    assert replace(CONTRAST, seed=2, samples=48).cost_units({}) == (alike, 96.0)
    assert replace(CONTRAST, views=["Translation()"]).cost_units({})[0] != alike
    assert CONTRAST.time_one_unit({}, None) > 0


def test_a_cell_looks_at_corrupted_images_standardised_as_the_others_are(tmp_path):
    found = rows(replace(MEASURE, corruption="contrast:4"), tmp_path / "a")
    training = zoo.load("mnist_subset", split="train").standardized()
    images = zoo.corrupted(zoo.load("mnist_subset", samples=64), "contrast:4")
    direct = iv.measure(
        zoo.build("simple_conv", **SMALL).eval(),
        images.standardized(training.mean, training.std),
        iv.QuarterTurns(),
        measures=iv.EquivarianceDeviation(kind="output"),
        progress=False,
    )
    name = "equivariance_deviation.output"
    assert found[name]["value"] == pytest.approx(direct.rows[0]["value"], rel=1e-6)
    assert found[name]["value"] != pytest.approx(rows(MEASURE, tmp_path / "b")[name]["value"], rel=1e-3)


def test_the_mean_over_the_orbit_is_invariant_and_the_network_itself_is_not(tmp_path):
    name = "equivariance_deviation.output"
    plain = rows(MEASURE, tmp_path / "a")[name]["value"]
    averaged = rows(replace(MEASURE, averaged="QuarterTurns()", layers=None), tmp_path / "b")[name]["value"]
    assert abs(averaged) < 1e-9 < plain


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"corruption": "blurr:2"}, "Closest: 'blur'"),
        ({"corruption": "blur:7"}, "severity from 1 to 5"),
        ({"averaged": "QuarterTurn()"}, "Closest: 'quarter_turns'"),
    ],
)
def test_a_wrong_corruption_or_average_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        replace(MEASURE, **options).check()


NV = "normalized_variance"


def test_a_pattern_that_matches_no_cell_is_refused(recipe):
    old = 'value = { quantity = "overall", cell = "nv/{network}" }'
    new = 'value = { quantity = "mean_over", among = ["nv/{network}", "nv/vgg*"] }'
    with pytest.raises(recipes.RecipeError, match=r"unknown measuring cell 'nv/vgg\*'"):
        recipes.load(str(recipe((old, new))))


def test_a_page_shows_published_numbers_where_there_are_any_and_what_intervals_are_over(
    finished, recipe, tmp_path
):
    old = (
        'value = { quantity = "element_value", cell = "accuracy", measure = "prediction.accuracy", x = 0.0 }'
    )
    new = f'value = {{ quantity = "mean_over", among = ["nv/*"], measure = "{NV}" }}'
    store = recipes.Store(finished, recipes.load(str(recipe((old, new)))))
    text = recipes.Page(recipes.Outcomes(store)).write(tmp_path / "page.md").read_text()
    tables = text.partition("## Normalized variance")[2].partition("## Trainings")[0]
    first, _, second = tables.partition("## Accuracy upright")
    assert "| ours | 95 % interval | published |\n" in first
    assert "Shortened in every row" in first
    assert "Intervals are over samples only." in first
    assert "| ours | 95 % interval | shortened |" in second
    assert "Intervals are over networks." in second


def test_options_that_the_scale_changes_are_said_in_words(finished, recipe):
    change = ("set = { epochs = 1 }", "set = { network_options = { filters = 3 } }")
    store = recipes.Store(finished, recipes.load(str(recipe(change))))
    texts = recipes.Outcomes(store).shortened(store.plan["train/simple_conv"])
    assert texts == ["network_options filters 3 (filters 2)"]
