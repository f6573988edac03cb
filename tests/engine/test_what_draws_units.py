"""Measures that need whole layers although units are drawn, and what rows say about the draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_layers import DRAWN, by_definition, draw_of, interval, measured, network, row_of, smooth_images

import invariscope as iv


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def images():
    return smooth_images()


@pytest.fixture(scope="module")
def many(images):
    noise = torch.randn(8, *images.shape, generator=torch.Generator().manual_seed(4))
    return (images + noise).flatten(0, 1)


PRESETS = [
    iv.NormalizedVariance(preset="tmeasures"),
    iv.TransformationVariance(preset="quiroga2019_full"),
    iv.NormalizedVariance(pool="after"),
    iv.NormalizedVariance(pool="ratio"),
    iv.NormalizedVariance(pool="before_mean"),
]
VECTORS = [
    iv.NormalizedDistance(distance="cosine"),
    iv.NormalizedDistance(distance="euclidean"),
    iv.EquivarianceDeviation(),
    iv.Stability(),
    iv.CKA(samples=32),
    iv.WorstElement(),
]


@pytest.mark.parametrize("measure", [*PRESETS, *VECTORS], ids=lambda one: f"{one.label} {one.options}"[:60])
def test_presets_and_whole_vectors_take_all_units(net, images, measure):
    options = {"layers": ["0", "2"], "precision": "float64"}
    some = measured(net, images, [measure, iv.SampleVariance()], **options)
    every = measured(net, images, [measure], units="all", **options)
    for row in every.rows:
        own = next(one for one in some.rows if one.place == row.place)
        for name in ("value", "ci_low", "ci_high", "units"):
            np.testing.assert_allclose(getattr(own, name), getattr(row, name), rtol=1e-9, err_msg=name)
        assert not own.drawing_error > 0


def test_moving_maps_back_needs_whole_maps_but_sums_of_drawn_units(net, images):
    some, every = (
        measured(net, images, iv.SameEquivariance(), units=units, layers=["0"]) for units in (DRAWN, "all")
    )
    key = "same_equivariance", "0"
    kept = np.isfinite(some.maps[key])
    assert kept.sum() == DRAWN
    np.testing.assert_allclose(some.maps[key][kept], every.maps[key][kept], rtol=1e-5)
    row, known = (row_of(one, measure="same_equivariance") for one in (some, every))
    assert row.drawing_error > 0
    assert abs(row.value - known.value) < 3 * row.drawing_error
    direct = [row_of(one, measure="same_equivariance.direct").value for one in (some, every)]
    np.testing.assert_allclose(*direct, rtol=1e-6)


@pytest.mark.parametrize("spread", ["variance", "std"])
def test_the_ratio_of_maps_moved_back_weights_units_by_their_bins(net, images, spread):
    found = measured(net, images, iv.SameEquivariance(spread=spread), layers=["0"], units=250)
    parts = [
        found.maps[f"same_equivariance.{name}", "0"]
        for name in ("transformation_variance", "sample_variance")
    ]
    draw = draw_of(found, measure="same_equivariance")
    along, across = (part.ravel()[draw.indices].astype(float) for part in parts)
    value, variance, freedom = by_definition(along, across, 2304)
    row = row_of(found, measure="same_equivariance")
    np.testing.assert_allclose(row.value_ratio, value, rtol=1e-5)
    bounds = interval(row.value_ratio, row.ratio_replicates, row.group_sizes, variance, freedom)
    np.testing.assert_allclose([row.ratio_low, row.ratio_high], bounds, rtol=1e-4)


def test_the_best_units_are_named_as_those_of_the_drawn_ones(net, images):
    row = row_of(measured(net, images, iv.Goodfellow(alpha=0.2)), measure="goodfellow")
    assert np.isnan(row.ci_low)
    assert "the best units depend on the draw" in row.note
    assert "selected among the drawn ones" in row.note
    assert np.isnan(row.drawing_error)
    assert (row.units, row.units_total) == (DRAWN, 2304)


def rejected(p, correction, alpha, total):
    """The share of p-values that reject, if they were drawn from `total` tests."""
    ranked = np.sort(p)
    if correction == "bonferroni":
        return (ranked <= alpha / total).mean()
    if correction == "benjamini_yekutieli":
        alpha /= sum(1 / k for k in range(1, total + 1))
    passing = [k + 1 for k, one in enumerate(ranked) if one <= alpha * (k + 1) / len(p)]
    return max(passing, default=0) / len(p)


@pytest.mark.parametrize("correction", ["bonferroni", "benjamini_hochberg", "benjamini_yekutieli"])
def test_levels_of_tests_are_corrected_for_all_units_of_the_layer(net, images, correction):
    shifted = images + torch.linspace(0, 0.3, 12)[:, None]  # a common effect of the turns on some units
    found = measured(net, shifted, iv.Anova(correction=correction))
    p = found.maps["anova.p", "0"]
    p = p[np.isfinite(p)].astype(float)
    row = row_of(found, measure=f"anova.rejecting_{correction}")
    assert row.value == rejected(p, correction, 0.05, 2304)
    assert rejected(p, correction, 0.05, DRAWN) > 0
    if correction == "bonferroni":  # the number of tests matters here
        assert row.value < rejected(p, correction, 0.05, DRAWN)


def test_information_examines_its_own_selection_of_units(net, images):
    found = measured(net, images, [iv.Information(units=100), iv.NormalizedVariance()])
    row = row_of(found, measure="information.transform")
    assert (row.units, row.units_total) == (100, 2304)
    assert np.isnan(row.drawing_error)
    assert row_of(found, "4", "information.transform").drawing_error == 0


@pytest.mark.parametrize("options", [{"floor": True}, {"baseline": "random", "draws": 2}])
def test_floors_and_baselines_draw_the_same_units(net, images, options):
    found = measured(net, images, **options, layers=["0"])
    assert np.isfinite(row_of(found).floor if "floor" in options else found.baseline["mean"].iloc[0])


def test_random_references_are_those_of_the_drawn_units(net, images):
    measure = iv.NormalizedVariance(norm="random_net")
    some, every = (measured(net, images, measure, units=units, layers=["0"]) for units in (DRAWN, "all"))
    key = next(iter(some.maps))
    kept = np.isfinite(some.maps[key])
    assert kept.sum() == DRAWN
    np.testing.assert_allclose(some.maps[key][kept], every.maps[key][kept], rtol=1e-5)


# Notes, and options that are no number of units.


def test_a_draw_that_decides_the_width_is_named(net, many):
    rows = [row_of(measured(net, many, units=units, layers=["0"])) for units in (70, 576)]
    samples = [np.subtract(8 * row.value, 7 * np.array(row.replicates)).std(ddof=1) / 8**0.5 for row in rows]
    assert rows[0].drawing_error > samples[0]
    assert "most of the interval's width is due to the draw of units; raise units=" in rows[0].note
    assert rows[1].drawing_error < samples[1]
    assert rows[1].note == ""


def test_too_few_live_units_give_no_interval_and_the_reason(net, images):
    row = row_of(measured(net, images, units=62))
    assert np.isnan([row.ci_low, row.ci_high]).all()
    assert row.note.startswith("no interval: 62 of the drawn units have a value, but 64 are needed")


def test_a_few_deciding_units_give_no_interval_and_the_reason(images):
    loud = network()
    with torch.no_grad():
        loud[0].weight[3] *= 100
    row = row_of(
        measured(loud, images, iv.TransformationVariance(), units=80), measure="transformation_variance"
    )
    assert np.isnan(row.ci_low)
    assert "a few of the drawn units decide" in row.note


def test_a_run_stops_if_no_number_of_samples_narrows_its_intervals(net, many):
    found = measured(net, many, width=0.002, layers=["0"])
    told = found.provenance["sequential"]
    assert told["stopped"] == "too few drawn units"
    assert told["samples"] == 128
    assert any("the draw of units alone" in note for note in found.provenance["notes"])


@pytest.mark.parametrize("units", [1, 0, -4, 2.5, "some", True, None])
def test_what_is_no_number_of_units_is_refused_in_one_line(net, images, units):
    with pytest.raises((ValueError, TypeError), match="units") as caught:
        measured(net, images, units=units)
    assert "\n" not in str(caught.value)
    assert repr(units) in str(caught.value)
