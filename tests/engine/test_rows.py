"""Rows of results: classes, reasons for what is missing, and floors where they mean something."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.zoo import load

DIGITS = load("mnist_subset")
TILTED = iv.Rotation([0, 20, 45])


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 10)).eval()


def measured(net, data, measures, **options):
    return iv.measure(net, data, TILTED, measures=measures, progress=False, **options)


@pytest.mark.parametrize("measure", ["prediction", "consistency", "twirl"])
def test_a_class_of_an_output_measure_has_the_numbers_of_its_samples_alone(net, measure):
    images, labels = DIGITS.images[:200], DIGITS.labels[:200]
    found = measured(net, (images, labels), measure, by_class=True)
    threes = labels == 3
    alone = measured(net, (images[threes], labels[threes]), measure)
    values = {row["measure"]: row["value"] for row in found.rows if row["stratum"] == "3"}
    expected = {row["measure"]: row["value"] for row in alone.rows}
    assert values == pytest.approx(expected, rel=1e-5)
    points, others = (
        [p["value"] for p in result.curve_rows if p["stratum"] == stratum]
        for result, stratum in ((found, "3"), (alone, "all"))
    )
    assert points == pytest.approx(others, rel=1e-5)


def test_the_mean_over_classes_is_that_of_the_classes_of_an_output_measure(net):
    found = measured(net, (DIGITS.images[:200], DIGITS.labels[:200]), "twirl", by_class=True)
    losses = {row["stratum"]: row["value"] for row in found.rows if row["measure"] == "twirl.loss"}
    assert len(losses) == 12
    assert losses["mean"] == pytest.approx(np.mean([losses[str(c)] for c in range(10)]))


@pytest.mark.parametrize("measure", ["anova", "goodfellow", "worst_element", "equivariance_error"])
def test_a_row_without_an_interval_says_why_in_every_stratum(net, measure):
    data = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 2
    result = measured(net, data, measure, by_class=True, layers="0")
    bare = [row for row in result.rows if not np.isfinite(row["ci_low"])]
    assert {row["stratum"] for row in bare} >= {"all", "0"}
    assert [row for row in bare if "no interval" not in row.get("note", "")] == []


def test_what_more_samples_would_mend_is_told_before_what_they_would_not(net):
    notes = {r["measure"]: r["note"] for r in measured(net, DIGITS.images[:9], "worst_element").rows}
    assert notes["worst_element"].startswith("no interval: the smallest group has")
    assert notes["worst_element.element"] == "no interval: it is a position, not a quantity"


def test_a_number_divided_by_nothing_is_told_from_one_of_dead_units():
    torch.manual_seed(0)
    same = torch.ones(3, 1, 6, 6) * torch.linspace(0, 1, 6)
    result = measured(nn.Sequential(nn.Conv2d(1, 2, 1)), same, "stability")
    notes = {row["measure"]: (row["value"], row["note"]) for row in result.rows}
    assert notes["stability.D"] == (np.inf, "infinite: division by 0")


@pytest.mark.parametrize(
    ("measure", "without"),
    [("stability", {"G"}), ("gradient_norm", {"", "probe_error", "relative", "noisy"})],
)
def test_numbers_that_the_transformed_inputs_do_not_enter_have_no_floor(net, measure, without):
    result = measured(net, DIGITS.images[:20], measure, layers="0", floor=True)
    floors = {row["measure"].removeprefix(measure).strip("."): row.get("floor") for row in result.rows}
    assert {output for output, floor in floors.items() if floor is None} == without
    assert all(0 < floor < np.inf for floor in floors.values() if floor is not None)


def test_layers_without_an_action_are_listed_once_for_each_reason(net):
    flips = iv.Elements([lambda x: x, lambda x: x.flip(3)])
    with pytest.raises(
        ValueError, match=r"applies to none of the 4 layers\. 0, 1, 2, 3: the actions of these"
    ) as caught:
        iv.measure(net, DIGITS.images[:9], flips, measures="equivariance_error", progress=False)
    assert str(caught.value).count("not declared") == 1
