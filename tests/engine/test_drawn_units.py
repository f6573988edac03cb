"""Layers of which some units are drawn: the same numbers, with the error of the draw in every interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import invariscope as iv
from invariscope.block import Block, Membership
from invariscope.results.maps import DrawnMap
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.unit_draw import UnitDraw

TURNS = iv.QuarterTurns()
N, DRAWN = 96, 256
LAYERS = ("0", "1", "2", "3")  # convolution, ReLU, convolution, and the second flattened


def network(seed=0):
    torch.manual_seed(seed)
    layers = (nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8 * 144, 3)).eval()


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    smooth = nn.functional.interpolate(torch.randn(N, 2, 4, 4, generator=generator), 12, mode="bilinear")
    return smooth + 0.1 * torch.randn(N, 2, 12, 12, generator=generator)


@pytest.fixture(scope="module")
def many(images):
    noise = torch.randn(8, *images.shape, generator=torch.Generator().manual_seed(4))
    return (images + noise).flatten(0, 1)


@pytest.fixture(scope="module")
def labels():
    return torch.arange(N) % 2


def measured(model, data, measures="normalized_variance", **options):
    return iv.measure(
        model,
        data,
        TURNS,
        measures=measures,
        **({"progress": False, "units": DRAWN, "rows": "all"} | options),
    )


@pytest.fixture(scope="module")
def drawn(net, images):
    return measured(net, images)


@pytest.fixture(scope="module")
def whole(net, images):
    return measured(net, images, units="all")


def row_of(result, layer="0", measure="normalized_variance", stratum="all"):
    return next(
        row for row in result.rows if (row.layer, row.measure, row.stratum) == (layer, measure, stratum)
    )


def draw_of(result, layer="0", measure="normalized_variance", stratum="all"):
    found = result.arrays[measure, layer, stratum, 0]
    assert isinstance(found, DrawnMap)
    return found.draw


def same_numbers(first, second, *, tolerance=0.0):
    """Rows and maps agree, in NaN too."""
    assert [row.place for row in first.rows] == [row.place for row in second.rows]
    for one, other in zip(first.rows, second.rows, strict=True):
        for name in ("value", "ci_low", "ci_high", "value_ratio", "ratio_low", "null", "drawing_error"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, err_msg=name)
        assert (one.units, one.units_total, one.note) == (other.units, other.units_total, other.note)
    for key, array in first.maps.items():
        np.testing.assert_allclose(array, second.maps[key], rtol=tolerance)


def test_units_are_drawn_from_large_layers_only(drawn):
    totals = {row.layer: (row.units, row.units_total) for row in drawn.rows}
    assert totals == {
        "0": (DRAWN, 2304), "1": (DRAWN, 2304), "2": (DRAWN, 1152), "3": (DRAWN, 1152), "4": (3, 3)
    }  # fmt: skip
    assert row_of(drawn, "4").drawing_error == 0
    assert all(row_of(drawn, layer).drawing_error > 0 for layer in LAYERS)


@pytest.mark.parametrize("units", [577, 2304, 10**6, "auto"])
def test_layers_of_which_more_than_a_quarter_would_be_drawn_have_the_same_bits(net, images, whole, units):
    found = measured(net, images, units=units, layers=["0", "1"])
    wanted = measured(net, images, units="all", layers=["0", "1"])
    same_numbers(found, wanted)
    assert all(row.drawing_error == 0 and row.units == row.units_total for row in found.rows)
    assert not any(isinstance(one, DrawnMap) for one in found.arrays.values())


def test_maps_hold_the_values_of_all_units_where_units_were_drawn(drawn, whole):
    for layer in LAYERS:
        some, every = drawn.maps["normalized_variance", layer], whole.maps["normalized_variance", layer]
        kept = np.isfinite(some)
        assert some.shape == every.shape
        assert kept.sum() == DRAWN
        np.testing.assert_allclose(some[kept], every[kept], rtol=1e-12)


def test_values_are_within_the_error_of_the_draw(drawn, whole):
    errors = [
        (row_of(drawn, layer).value - row_of(whole, layer).value) / row_of(drawn, layer).drawing_error
        for layer in LAYERS
    ]
    assert max(np.abs(errors)) < 3


# The definition, from the responses of the network themselves.


def variances(net, images, draw):
    """(drawn,) variances along orbits and across samples of the first layer, by NumPy."""
    with torch.no_grad():
        orbits = torch.stack([net[0](torch.rot90(images, k, (-2, -1))) for k in range(4)], dim=1)
    kept = orbits.flatten(2).double().numpy()[..., draw.indices]
    return kept.var(axis=1, ddof=1).mean(axis=0), kept.var(axis=0, ddof=1).mean(axis=0)


def by_definition(above, below, total):
    """The ratio of the sums, v₂ and its degrees of freedom, for two units per bin in their order."""
    bins, sums, parts = len(above) // 2, np.zeros(2), []
    sizes = [(h + 1) * total // bins - h * total // bins for h in range(bins)]
    for h, size in enumerate(sizes):
        sums += size * np.array([above[2 * h] + above[2 * h + 1], below[2 * h] + below[2 * h + 1]])
    ratio, mean = sums[0] / sums[1], sums[1] / (2 * total)
    for h, size in enumerate(sizes):
        first, second = ((above[u] - ratio * below[u]) / mean for u in (2 * h, 2 * h + 1))
        parts.append((size / total) ** 2 * (1 - 2 / size) * (first - second) ** 2 / 4)
    return ratio, sum(parts), 3 * sum(parts) ** 2 / sum(q * q for q in parts)


def interval(value, replicates, sizes, variance, freedom):
    """θ_J ± √(t₇² v₁ + t²_ν v₂) for groups of equal size."""
    assert len(set(sizes)) == 1
    pseudo = 8 * value - 7 * np.array(replicates)
    samples = pseudo.var(ddof=1) / 8
    half = math.sqrt(stats.t.ppf(0.975, 7) ** 2 * samples + stats.t.ppf(0.975, freedom) ** 2 * variance)
    return pseudo.mean() - half, pseudo.mean() + half


def test_a_mean_over_units_has_the_value_error_and_interval_of_the_definition(net, images, drawn):
    row, draw = row_of(drawn), draw_of(drawn)
    along, across = variances(net, images, draw)
    value, variance, freedom = by_definition(along / across, np.ones(DRAWN), 2304)
    np.testing.assert_allclose([row.value, row.drawing_error], [value, math.sqrt(variance)], rtol=1e-5)
    bounds = interval(row.value, row.replicates, row.group_sizes, variance, freedom)
    np.testing.assert_allclose([row.ci_low, row.ci_high], bounds, rtol=1e-5)


def test_a_ratio_of_means_has_the_interval_of_the_definition(net, images, drawn):
    row, draw = row_of(drawn), draw_of(drawn)
    value, variance, freedom = by_definition(*variances(net, images, draw), 2304)
    np.testing.assert_allclose(row.value_ratio, value, rtol=1e-5)
    bounds = interval(row.value_ratio, row.ratio_replicates, row.group_sizes, variance, freedom)
    np.testing.assert_allclose([row.ratio_low, row.ratio_high], bounds, rtol=1e-5)


def test_squared_distances_are_sums_over_units_estimated_from_the_drawn_ones(net, images):
    found = measured(net, images, [iv.TransformationDistance(), iv.SampleDistance(), iv.NormalizedDistance()])
    draw = UnitDraw((16, 12, 12), DRAWN, seed=0)
    along, across = variances(net, images, draw)
    for name, part in (("transformation_distance", along), ("sample_distance", across)):
        row = row_of(found, measure=name)
        value, variance, _ = by_definition(part, np.ones(DRAWN), 2304)
        np.testing.assert_allclose(
            [row.value, row.drawing_error], [2 * 2304 * value, 2 * 2304 * variance**0.5]
        )
    row = row_of(found, measure="normalized_distance")
    value, variance, _ = by_definition(along, across, 2304)
    np.testing.assert_allclose([row.value, row.drawing_error], [value, variance**0.5], rtol=1e-5)


# The same draw, however the responses are stored and read.


@pytest.mark.parametrize("batch_size", [4, 20, 1000])
def test_the_batch_size_changes_nothing(net, images, drawn, batch_size):
    same_numbers(measured(net, images, batch_size=batch_size), drawn, tolerance=1e-4)


def test_channels_stored_last_have_the_same_draw(images, drawn):
    stored = network().to(memory_format=torch.channels_last)
    same_numbers(measured(stored, images), drawn, tolerance=1e-3)


def test_other_networks_with_equal_shapes_have_the_same_draw(images, drawn):
    other = measured(network(seed=5), images)
    for layer in LAYERS:
        np.testing.assert_array_equal(draw_of(other, layer).indices, draw_of(drawn, layer).indices)
    np.testing.assert_array_equal(draw_of(drawn, "0").indices, draw_of(drawn, "1").indices)
    assert row_of(other).value != row_of(drawn).value


def test_another_seed_draws_other_units(net, images, drawn):
    other = measured(net, images, seed=1)
    assert (draw_of(other).indices != draw_of(drawn).indices).mean() > 0.5


def test_a_flattened_layer_has_the_units_of_the_layer_that_it_repeats(drawn):
    maps, flat = (drawn.maps["normalized_variance", layer] for layer in ("2", "3"))
    np.testing.assert_array_equal(maps.ravel(), flat)
    assert row_of(drawn, "2").value == row_of(drawn, "3").value


def test_a_resumed_run_has_the_numbers_of_an_uninterrupted_one(net, images, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("invariscope.engine.checkpoint._EVERY_SECONDS", 0.0)
    path, done = tmp_path / "run.part", itertools.count()

    def interrupt(walked, total):
        if walked and next(done) == 3:
            raise KeyboardInterrupt

    options = {"checkpoint": path, "batch_size": 32}
    with pytest.raises(KeyboardInterrupt):
        measured(net, images, **options, progress=interrupt)
    assert path.exists()
    same_numbers(measured(net, images, **options), measured(net, images, batch_size=32), tolerance=1e-12)


def test_a_checkpoint_of_another_draw_is_refused(net, images, tmp_path, monkeypatch):
    monkeypatch.setattr("invariscope.engine.checkpoint._EVERY_SECONDS", 0.0)
    path = tmp_path / "run.part"

    def interrupt(walked, total):
        if walked:
            raise KeyboardInterrupt

    options = {"checkpoint": path, "batch_size": 32}
    with pytest.raises(KeyboardInterrupt):
        measured(net, images, **options, progress=interrupt)
    with pytest.raises(ValueError, match="another measurement"):
        measured(net, images, **options, units=128)


def fed(spec, values, draw, buckets=1):
    """The state after a block of (sample, element, unit...) values, all in one bucket."""
    samples, elements = values.shape[:2]
    membership = Membership(np.zeros((samples, 1), np.int64))
    place = {"sample_step": elements, "element_step": 1, "indices": np.arange(samples)}
    sizes = {"samples": samples, "elements": elements}
    block = Block(values.flatten(0, 1), **sizes, **place, membership=membership, draw=draw).drawn
    state = spec.init(block, buckets=buckets)
    spec.update(state, block)
    return state


def test_merged_states_equal_those_of_one_pass():
    spec, draw = OrbitMoments(), UnitDraw((8, 30, 30), 200, seed=0)
    values = torch.randn(30, 4, 8, 30, 30, generator=torch.Generator().manual_seed(2))
    merged = spec.merge(fed(spec, values[:11], draw), fed(spec, values[11:], draw))
    together = spec.finalize(fed(spec, values, draw), [[0]])
    found = spec.finalize(merged, [[0]])
    np.testing.assert_allclose(found.transformation_variance, together.transformation_variance, rtol=1e-10)
    np.testing.assert_allclose(found.sample_variance, together.sample_variance, rtol=1e-10)


def test_a_million_units_need_less_than_ten_megabytes():
    spec, shape = OrbitMoments(), (16, 256, 256)
    draw = UnitDraw.of(shape, "auto", seed=0)
    values = torch.zeros(1, 16, *shape)
    state = fed(spec, values, draw, buckets=8)
    parts = [*state.sums.arrays().values(), state.references.pivot, state.references.usual]
    parts += [waiting.room.numpy() for waiting in state.waiting.values() if waiting.room is not None]
    assert sum(part.nbytes for part in parts) < 10e6
    assert state.sums.columns.shape == (8, 16, 4096)


# Comparisons, classes, files.


def contrasts(values, draw):
    """(bin,) numbers whose squares sum to v₂, from the (drawn,) values of a mean over live units."""
    bins, total = draw.count // 2, draw.total
    sizes = np.diff([h * total // bins for h in range(bins + 1)])
    first, second = (values - np.average(values, weights=np.repeat(sizes, 2))).reshape(-1, 2).T
    return sizes / total * np.sqrt(1 - 2 / sizes) * (first - second) / 2


def test_a_paired_difference_takes_the_difference_of_the_same_units(net, images, drawn):
    near = network()
    with torch.no_grad():
        near[0].weight += 0.02 * torch.randn(near[0].weight.shape, generator=torch.Generator().manual_seed(3))
    other = measured(near, images)
    a, b, draw = row_of(drawn), row_of(other), draw_of(drawn)
    table = iv.compare(drawn, other).set_index("layer").loc["0"]
    units = [r.maps["normalized_variance", "0"].ravel()[draw.indices].astype(float) for r in (drawn, other)]
    parts = contrasts(units[1], draw) - contrasts(units[0], draw)
    variance, freedom = (parts**2).sum(), 3 * (parts**2).sum() ** 2 / (parts**4).sum()
    assert variance**0.5 < 0.5 * a.drawing_error  # the common part cancels
    omitted = np.subtract(b.replicates, a.replicates)
    bounds = interval(b.value - a.value, omitted, a.group_sizes, variance, freedom)
    np.testing.assert_allclose([table["ci_low"], table["ci_high"]], bounds, rtol=1e-3)


def test_a_result_and_itself_do_not_differ(drawn):
    table = iv.compare(drawn, drawn)
    assert (table["difference"] == 0).all()
    np.testing.assert_array_equal(table["ci_high"], 0)


def test_drawn_units_are_compared_with_all_units(drawn, whole):
    row = iv.compare(whole, drawn).set_index("layer").loc["0"]
    assert row["ci_high"] - row["ci_low"] > 2 * 1.9 * row_of(drawn).drawing_error
    assert row["ci_low"] < 0 < row["ci_high"]


def test_different_numbers_of_drawn_units_are_not_compared(net, images, drawn):
    with pytest.raises(ValueError, match=r"different numbers of units were drawn.*256 and 128 of 2304"):
        iv.compare(drawn, measured(net, images, units=128))


def test_the_mean_of_classes_averages_the_classes_before_the_draw_is_judged(net, images, labels):
    found = measured(net, (images, labels), by_class=True)
    draw = draw_of(found)
    classes = [found.maps["normalized_variance", "0", name].ravel()[draw.indices] for name in ("0", "1")]
    parts = contrasts(np.mean(classes, axis=0).astype(float), draw)
    mean = row_of(found, stratum="mean")
    np.testing.assert_allclose(mean.drawing_error, (parts**2).sum() ** 0.5, rtol=1e-4)
    for name, values in zip(("0", "1"), classes, strict=True):
        expected = (contrasts(values.astype(float), draw) ** 2).sum() ** 0.5
        np.testing.assert_allclose(row_of(found, stratum=name).drawing_error, expected, rtol=1e-4)
    assert (mean.units, mean.units_total) == (DRAWN, 2304)
    assert np.isfinite(found.maps["normalized_variance", "0", "mean"]).sum() == DRAWN


def test_a_class_without_a_live_unit_does_not_dilute_the_error_of_the_mean(images, labels):
    dead = images.clone()
    dead[labels == 1] = 0.0
    found = measured(network(), (dead, labels), by_class=True)
    alive, mean = (row_of(found, stratum=stratum) for stratum in ("0", "mean"))
    assert np.isnan(row_of(found, stratum="1").value)
    assert np.isnan(row_of(found, stratum="1").drawing_error)
    assert mean.value == alive.value
    np.testing.assert_allclose(mean.drawing_error, alive.drawing_error)


def test_a_saved_result_keeps_maps_and_comparisons(net, images, drawn, tmp_path):
    other = measured(network(seed=5), images)
    loaded = [iv.load(one.save(tmp_path / name)) for one, name in ((drawn, "a"), (other, "b"))]
    same_numbers(loaded[0], drawn)
    assert iv.compare(*loaded).equals(iv.compare(drawn, other))
    assert (tmp_path / "a" / "maps.safetensors").stat().st_size < 60_000  # of drawn units, not of all


def test_a_result_without_maps_is_compared_as_if_the_draws_were_independent(net, images, drawn, tmp_path):
    other = measured(network(seed=5), images)
    plain = [iv.load(one.save(tmp_path / name), maps=False) for one, name in ((drawn, "a"), (other, "b"))]
    row, paired = (iv.compare(*two).set_index("layer").loc["0"] for two in (plain, (drawn, other)))
    assert row["difference"] == paired["difference"]
    assert np.isfinite(row["ci_low"])


# Where drawing does not apply.

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
