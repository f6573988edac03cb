"""Several conventions of one measure in one run: names that tell their rows apart, and the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.checking.limits import limits_of
from invariscope.measures.base import as_measures

NAMES = ["normalized_variance", "normalized_variance.quiroga2019_full"]


def test_options_that_a_name_cannot_hold_are_measured_one_at_a_time():
    wanted = [iv.Stability(radius=radius) for radius in (0.5, 0.25)]
    with pytest.raises(ValueError, match=r"requested 2 times, .*; measure one set of options at a time"):
        as_measures(wanted)


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        ([iv.NormalizedVariance()], [""]),
        ([iv.NormalizedVariance(preset="quiroga2019")], [""]),
        ([iv.NormalizedVariance(), iv.NormalizedVariance(preset="quiroga2019")], ["", ".quiroga2019"]),
        ([iv.NormalizedVariance(pool="after"), iv.NormalizedVariance()], [".pool=after", ""]),
        ([iv.Stability(), iv.Stability(preset="petrini2021")], ["", ".petrini2021"]),
        (
            [iv.Stability(preset="petrini2021"), iv.Stability(preset="petrini2021", seed=3)],
            [".petrini2021", ".petrini2021.seed=3"],
        ),
    ],
)
def test_the_same_measure_with_other_options_has_a_name_of_its_own_in_the_same_run(wanted, labels):
    found = as_measures(wanted)
    assert found == tuple(wanted)
    assert [measure.label.removeprefix(measure.name) for measure in found] == labels
    assert as_measures(found) == found
    assert [measure.label for measure in as_measures(found)] == [measure.label for measure in found]


@pytest.mark.usefixtures("seeded")
def test_two_conventions_in_one_run_give_the_numbers_of_two_runs(tmp_path):
    model, images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.randn(128, 1, 8, 8)
    turns = iv.QuarterTurns()
    conventions = [iv.NormalizedVariance(), iv.NormalizedVariance(preset="quiroga2019_full")]
    both = iv.measure(model, images, turns, measures=conventions, progress=False)
    apart = [iv.measure(model, images, turns, measures=one, progress=False) for one in conventions]
    shards = [
        iv.measure(model, images, turns, measures=conventions, shard=(k, 2), progress=False) for k in (0, 1)
    ]
    both.save(tmp_path / "both")
    for result in (both, iv.load(tmp_path / "both"), iv.merge(shards)):
        for name, own in zip(NAMES, apart, strict=True):
            values = [row.value for row in result.rows if row.measure == name]
            assert values == pytest.approx([row.value for row in own.rows], rel=1e-12)
        assert result.maps[NAMES[1], "0"] == pytest.approx(apart[1].maps["normalized_variance", "0"])


@pytest.mark.usefixtures("seeded")
def test_each_limit_is_compared_with_the_convention_that_it_names():
    model, images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), torch.randn(128, 1, 8, 8)
    bounds = {"0:normalized_variance": 9.0, "0:NormalizedVariance(preset='quiroga2019_full')": 8.0}
    assert [limit.row for limit in limits_of(None, bounds)] == NAMES
    verdict = iv.assert_limits(model, images, iv.QuarterTurns(), max=bounds)
    ours, published = (
        iv.measure(model, images, iv.QuarterTurns(), layers="0", measures=one, samples=None, progress=False)
        for one in (iv.NormalizedVariance(), iv.NormalizedVariance(preset="quiroga2019_full"))
    )
    values = {outcome.limit.bound: outcome.value for outcome in verdict.outcomes}
    assert values == pytest.approx({9.0: ours.rows[0].value, 8.0: published.rows[0].value})
