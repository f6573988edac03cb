"""Cells that look at networks: curves, the share of right answers, statistics of batch normalisation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.curve import Curve, before_softmax
from invariscope.lab.recipes.kinds.measure import MeasureCell
from invariscope.results import storage

SMALL = {"filters": 4, "kernel_size": 3}
CURVE = Curve(data="mnist_subset", network="min_cnn", network_options=SMALL, samples=24, radii=3, logits=True)
MEASURE = MeasureCell(
    data="mnist_subset", network="min_cnn", network_options=SMALL, samples=24, transform="QuarterTurns()",
    measures=["normalized_variance"], layers=["fc"], tested=100,
)  # fmt: skip


def outcome(cell, folder):
    """What the cell finds."""
    cell.check()
    cell.run(CellContext(folder, folder))
    return storage.load(folder / "result")


def prepared(samples):
    """Test images as the cells give them to a network with random weights."""
    training = zoo.load("mnist_subset", split="train").standardized()
    return zoo.load("mnist_subset", split="test", samples=samples).standardized(training.mean, training.std)


def test_a_curve_cell_holds_the_curves_of_the_logits_and_images_at_the_bump(tmp_path):
    found = outcome(CURVE, tmp_path)
    model = nn.Sequential(*list(zoo.build("min_cnn", **SMALL).children())[:-1]).eval()
    expected = iv.stability_curve(model, prepared(24), radii=3, progress=False)
    names = ["measure", "element", "x", "value"]
    assert found.curves[names].round(9).equals(expected.curves[names].round(9))
    assert set(found.examples) == {
        f"bump:{way}" for way in ("as it is", "deformed", "noise", "toward another")
    }


def test_logits_need_a_softmax_to_be_left_out():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="ends with '1'"):
        before_softmax(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_radii_that_make_no_ladder_are_refused():
    with pytest.raises(ValueError, match="radii=1"):
        replace(CURVE, radii=1).check()
    with pytest.raises(ValueError, match="temperature"):
        replace(CURVE, radii=[1e-3, -1e-3]).check()


def test_curves_that_differ_in_draws_alone_are_timed_once(tmp_path):
    alike, pieces = CURVE.cost_units({})
    assert pieces == 24
    assert replace(CURVE, seed=3, samples=80).cost_units({}) == (alike, 80.0)
    assert replace(CURVE, radii=4).cost_units({})[0] != alike
    assert CURVE.time_one_unit({}, None) >= 0


def test_the_share_of_right_answers_stands_beside_what_was_measured(tmp_path):
    rows = {row["measure"]: row for row in outcome(MEASURE, tmp_path).rows}
    images = prepared(100)
    model = zoo.build("min_cnn", **SMALL)
    right, wrong = rows["test.accuracy"], rows["test.error"]
    assert right["value"] == pytest.approx(zoo.evaluate(model, images))
    assert wrong["value"] == pytest.approx(1 - right["value"])
    assert right["ci_low"] < right["value"] < right["ci_high"]
    kept = [i for i in range(100) if i % 8 != 2]
    without = zoo.evaluate(model, (images.images[kept], images.labels[kept]))
    assert right["replicates"][2] == pytest.approx(without)
    assert (right["samples"], sum(right["group_sizes"])) == (100, 100)
    with pytest.raises(ValueError, match="tested=10"):
        replace(MEASURE, tested=10).check()


def test_batch_normalisation_can_be_calibrated_on_what_is_looked_at(tmp_path):
    cell = replace(
        MEASURE,
        network="simple_conv",
        network_options={"filters": 2, "batch_norm": True},
        layers=["fc2"],
        tested=0,
    )
    said = {}
    for convention in ("stored", "calibrated"):
        found = outcome(replace(cell, normalization=convention), tmp_path / convention)
        said[convention] = found.provenance["model"]["normalization"]
    assert said == {"stored": "stored running statistics", "calibrated": "statistics of 24 inputs"}
