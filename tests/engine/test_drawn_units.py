"""Layers of which some units are drawn: the same numbers, with the error of the draw in every interval."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from drawn_layers import (
    DRAWN,
    LAYERS,
    N,
    by_definition,
    draw_of,
    interval,
    measured,
    network,
    row_of,
    smooth_images,
)

import invariscope as iv
from invariscope.block import Block, Membership
from invariscope.results.maps import DrawnMap
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.unit_draw import UnitDraw


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.fixture(scope="module")
def images():
    return smooth_images()


@pytest.fixture(scope="module")
def labels():
    return torch.arange(N) % 2


@pytest.fixture(scope="module")
def drawn(net, images):
    return measured(net, images)


@pytest.fixture(scope="module")
def whole(net, images):
    return measured(net, images, units="all")


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
    monkeypatch.setattr("invariscope.engine.checkpoint.Checkpoint.due", lambda self: True)
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
    monkeypatch.setattr("invariscope.engine.checkpoint.Checkpoint.due", lambda self: True)
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
