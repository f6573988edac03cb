"""Measures with a pilot: bins and thresholds come from all untransformed inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_every_measure import block_of, columns_behind, final_values
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.common.draws import Draws, Stream
from invariscope.measures.values import LayerContext
from invariscope.statistics.counts.bin_pilot import BETWEEN, BinPilot, chosen_units
from invariscope.statistics.counts.firing import TopResponses

EVERY_GROUP = ((0,), (1,), (2,))
GRID = st.integers(-8, 8).map(lambda k: k / 4)  # many ties, but no values that differ by rounding only
ORBITS = arrays(
    np.float64, st.tuples(st.integers(3, 24), st.integers(2, 4), st.integers(1, 3)), elements=GRID
)


def agree(measure, activations, labels=None):
    found, expected = final_values(measure, activations, labels), measure.oracle(activations, labels)
    assert expected
    for output, answer in expected.items():
        np.testing.assert_allclose(found[output].values[0], answer, rtol=1e-9, atol=1e-12, err_msg=output)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@settings(max_examples=60)
@given(ORBITS, st.sampled_from([0.01, 0.1, 0.25, 0.5]), st.sampled_from(["firing", "all"]))
def test_firing_agrees_with_brute_force_on_any_array(activations, alpha, average):
    agree(iv.Goodfellow(alpha=alpha, average=average), activations)


@settings(max_examples=40)
@given(ORBITS, st.integers(0, 5), st.integers(1, 3), st.data())
def test_information_agrees_with_brute_force_on_any_array(activations, permutations, units, data):
    labels = data.draw(arrays(np.int64, len(activations), elements=st.integers(0, 3)))
    agree(iv.Information(permutations=permutations, units=units, pilot=16), activations, labels)


class SimpleConvOrbits:
    """Quarter turns of digits in an untrained SimpleConv, with the responses of three layers."""

    layers = ("conv1", "fc1", "log_softmax")

    def __init__(self):
        data = zoo.load("mnist_subset")
        torch.manual_seed(0)
        net = zoo.build("simple_conv", input_shape=data.shape, classes=len(data.classes))
        self.net, self.labels = net.eval().double(), data.labels[:48]
        self.images = torch.as_tensor(data.images[:48]).double()

    def read(self, x):
        """Return {layer: responses} of one batch, for a callable reader."""
        found = {}
        names = dict(self.net.named_modules())
        hooks = [
            names[name].register_forward_hook(lambda _, __, out, name=name: found.update({name: out.clone()}))
            for name in self.layers
            if name in names
        ]
        with torch.no_grad():
            found["log_softmax"] = self.net(x)
        for hook in hooks:
            hook.remove()
        return found

    def orbit(self, transform):
        """{layer: (sample, element, unit...)} in float64."""
        rows = self.read(transform.orbit(self.images).flatten(0, 1))
        shape = (len(self.images), len(transform))
        return {name: values.unflatten(0, shape).numpy() for name, values in rows.items()}


@pytest.fixture(scope="module")
def digits():
    return SimpleConvOrbits()


@pytest.mark.parametrize(
    "measure", [iv.Goodfellow(alpha=0.1), iv.Information(units=40)], ids=lambda m: m.name
)
def test_maps_of_a_network_equal_brute_force_on_its_responses(digits, measure):
    turns = iv.QuarterTurns()
    data = (digits.images, digits.labels)
    ids = np.arange(len(digits.images))
    result = iv.measure(digits.read, data, turns, measures=measure, progress=False, ids=ids)
    for layer, activations in digits.orbit(turns).items():
        expected = measure.oracle(activations, np.asarray(digits.labels))
        assert len(expected) >= 3
        for output, answer in expected.items():
            name = f"{measure.name}.{output}" if output else measure.name
            np.testing.assert_allclose(result.maps[name, layer], answer, rtol=1e-6, atol=1e-9)


# Firing


def test_the_layers_value_is_the_mean_over_the_best_fifth_of_the_units_that_fire():
    activations = normal(50, 4, 23)
    activations[..., 0] = 7.0
    found = final_values(iv.Goodfellow(alpha=0.2), activations)
    scores = np.sort(found[""].values[0])  # NaN last
    assert (found[""].dead, found[""].counted.sum()) == (1, 5)  # ⌈0.2 · 22⌉
    assert found[""].layer_values()[0] == pytest.approx(scores[17:22].mean())
    best = found[""].counted
    assert found["local"].layer_values()[0] == pytest.approx(found["local"].values[0][best].mean())


def test_thresholds_stay_those_of_all_samples_when_a_group_is_left_out():
    activations = normal(60, 3, 4)
    buckets = np.arange(60) % 3
    found = final_values(iv.Goodfellow(alpha=0.2), activations, buckets=buckets, groups=EVERY_GROUP)
    thresholds = np.quantile(np.stack([activations[:, 0], -activations[:, 0]]), 0.8, axis=1)

    def scores(kept):
        fires = np.stack([kept, -kept]) > thresholds[:, None, None]
        local = (fires.mean(axis=2) * fires[:, :, 0]).sum(axis=1) / fires[:, :, 0].sum(axis=1)
        return local / fires[:, :, 0].mean(axis=1)

    sign = scores(activations).argmax(axis=0)[None]
    for group in range(3):
        expected = np.take_along_axis(scores(activations[buckets != group]), sign, axis=0)[0]
        np.testing.assert_allclose(found[""].values[1 + group], expected)


def test_the_orbit_includes_the_untransformed_input_if_it_is_not_an_element():
    x = torch.from_numpy(normal(40, 6)).double()
    elements = [lambda x: x.roll(1, -1), lambda x: 0.5 * x]
    result = iv.measure(lambda x: {"a": x}, x, elements, measures=iv.Goodfellow(alpha=0.1), progress=False)
    orbit = torch.stack([x, *(element(x) for element in elements)], dim=1).numpy()
    expected = iv.Goodfellow(alpha=0.1).oracle(orbit, None)
    np.testing.assert_allclose(result.maps["goodfellow", "a"], expected[""])
    np.testing.assert_allclose(result.maps["goodfellow.local", "a"], expected["local"])


def test_what_rounding_leaves_above_the_threshold_does_not_fire():
    silent = np.zeros((50, 3, 1))
    silent[0, 0] = 1.0
    silent[1:, 0, 0] = 1e-17 * np.abs(normal(49))
    assert final_values(iv.Goodfellow(alpha=0.1), silent)["global"].values[0, 0] == pytest.approx(1 / 50)


class Batches:
    """Batches that can be iterated repeatedly, but without a length."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(self.x.split(7))


def test_a_stream_of_unknown_length_gives_the_same_numbers_and_an_iterator_is_refused():
    x = torch.from_numpy(normal(50, 5))
    options = {"measures": iv.Goodfellow(alpha=0.1), "progress": False}
    doubled = [lambda x: x, lambda x: x**2]
    known, unknown = (iv.measure(lambda x: {"a": x}, d, doubled, **options) for d in (x, Batches(x)))
    np.testing.assert_array_equal(known.maps["goodfellow", "a"], unknown.maps["goodfellow", "a"])
    with pytest.raises(ValueError, match="walks the data beforehand: pass an array"):
        iv.measure(lambda x: {"a": x}, iter(Batches(x)), doubled, **options)


def test_where_memory_is_short_thresholds_come_from_a_hashed_subset_and_a_note_says_so():
    x = torch.from_numpy(normal(5000, 4)).float()
    keys = np.arange(5000)
    measured = {"measures": "goodfellow", "progress": False, "memory_gb": 1e-6, "ids": keys}
    result = iv.measure(lambda x: {"a": x}, x, [lambda x: x, lambda x: -x], **measured)
    (note,) = [note for note in result.provenance["notes"] if "thresholds" in note]
    chosen = Draws(0, keys, stream=Stream.FIRING_SAMPLE).uniform()[:, 0] < 0.125
    assert note.startswith(f"firing thresholds come from {chosen.sum()} of 5000 samples")
    plain = x.numpy().astype(float)
    fires = [(s * plain > np.quantile(s * plain[chosen], 0.99, axis=0)).mean(axis=0) for s in (1, -1)]
    found = result.maps["goodfellow.global", "a"]
    assert np.isclose(found, fires, rtol=1e-6).any(axis=0).all()


@pytest.mark.parametrize(("cut", "kind"), [(1, float), (9, np.float32), (40, float)])
def test_two_halves_of_a_pilot_have_the_quantile_of_the_whole(cut, kind):
    values = normal(41, 1, 5).astype(kind)
    pilot = TopResponses(0.13)
    states = [pilot.init(block_of(values, None, 0, 1), buckets=1) for _ in range(2)]
    for state, (lo, hi) in zip(states, ((0, cut), (cut, 41)), strict=True):
        pilot.update(state, block_of(values, None, lo, hi))
    found = pilot.finalize(pilot.merge(*states), [[0]])
    plain = values[:, 0].astype(float)
    expected = [
        np.quantile(s * plain, 0.87, axis=0) + 1e-9 * np.abs((s * plain).max(axis=0)) for s in (1, -1)
    ]
    np.testing.assert_allclose(found.values, expected, rtol=1e-14)
    assert (found.samples, found.seen) == (41, 41)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a share above 0 and at most 0.5; got 0"),
        ({"best": 1.5}, "best must be a share"),
        ({"average": "fire"}, "unknown average 'fire'. Closest: 'firing'"),
        ({"preset": "tmeasure"}, "unknown preset 'tmeasure'. Closest: 'tmeasures'"),
    ],
)
def test_firing_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        iv.Goodfellow(**options)


# Information


def bits(rows, bins):
    """Mutual information from a table of counts."""
    table = np.zeros((rows.max() + 1, bins.max() + 1))
    np.add.at(table, (rows.ravel(), bins.ravel()), 1 / rows.size)
    independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    told = table > 0
    return (table[told] * np.log2(table[told] / independent[told])).sum()


def test_bins_stay_those_of_all_samples_when_a_group_is_left_out():
    activations, labels, buckets = normal(60, 3, 2), np.arange(60) // 5 % 4, np.arange(60) % 3
    measure = iv.Information(permutations=0)
    found = final_values(measure, activations, labels, buckets=buckets, groups=EVERY_GROUP)
    for unit in range(2):
        ordered, below = np.sort(activations[:, 0, unit]), 59 * np.arange(1, 16) // 16
        edges = ordered[below] + BETWEEN * (ordered[below + 1] - ordered[below])
        bins = np.searchsorted(edges, activations[:, :, unit])
        for group in range(3):
            kept = bins[buckets != group]
            own = labels[buckets != group][:, None].repeat(3, 1)
            elements = np.tile(np.arange(3), (len(kept), 1))
            assert found["transform"].values[1 + group, unit] == pytest.approx(bits(elements, kept))
            assert found["label"].values[1 + group, unit] == pytest.approx(bits(own, kept))


def test_where_nothing_is_told_the_permutations_take_the_bias_away():
    activations, labels = normal(300, 8, 40), np.random.default_rng(1).integers(0, 5, 300)
    plain, corrected = (final_values(iv.Information(permutations=p), activations, labels) for p in (0, 20))
    for output in ("transform", "label"):
        biased, unbiased = plain[output].values[0], corrected[output].values[0]
        assert biased.min() > 0.005
        error = unbiased.std(ddof=1) / 40**0.5
        assert abs(unbiased.mean()) < 4 * error < biased.mean() / 4


def test_labels_are_permuted_across_whole_samples():
    """A response that never moves repeats a sample's label m times; permuting responses would show it."""
    still = np.repeat(normal(200, 1, 60), 16, axis=1)
    labels = np.random.default_rng(2).integers(0, 2, 200)
    told = final_values(iv.Information(), still, labels)["label"].values[0]
    assert abs(told.mean()) < 4 * told.std(ddof=1) / 60**0.5
    plug_in = final_values(iv.Information(permutations=0), still, labels)["label"].values[0]
    assert plug_in.mean() > 10 * 15 / (2 * np.log(2) * 200 * 16)  # ten times that of 3,200 free responses


def test_a_value_that_many_share_has_a_bin_of_its_own_and_rounding_moves_nothing_out_of_it():
    activations = np.zeros((64, 2, 3))
    activations[:16, :, 0] = np.abs(normal(16, 1)) + 0.1  # a ReLU's zeros, some of them 1e-17 after a turn
    activations[16:, 1, 0] = 1e-17 * normal(48)
    activations[:, 0, 1] = np.repeat([-1.0, 0.0, 1.0, 0.0], 16)
    activations[:, 1, 1] = np.repeat([-1.0, -1e-3, 1.0, 1e-3], 16)  # clearly different from the shared value
    activations[:, 1, 2] = 1e-17 * normal(64)
    found = final_values(iv.Information(permutations=0), activations)["transform"]
    assert found.values[0, 0] == pytest.approx(0, abs=1e-12)
    assert found.values[0, 1] == pytest.approx(0.5)
    assert np.isnan(found.values[0, 2])
    assert found.dead == 1


def test_some_units_are_looked_at_the_others_are_nan_and_the_count_says_so():
    x = torch.from_numpy(normal(40, 30))
    result = iv.measure(
        lambda x: {"a": x}, x, [lambda x: x, lambda x: -x], measures=iv.Information(units=12), progress=False
    )
    row = result.rows[0]
    assert (row["units"], row["counted_units"], row["dead_units"]) == (12, 12, 0)
    assert row["note"].endswith("12 of 30 units were examined")
    assert np.isfinite(result.maps["information.transform", "a"]).sum() == 12
    assert {r["measure"] for r in result.rows} == {"information.transform", "information.transform_share"}


def test_of_the_units_that_were_looked_at_the_dead_are_counted_in_classes_and_their_mean_too():
    values = normal(80, 30)
    values[:, ::2] = 3.0
    result = iv.measure(
        lambda x: {"a": x.abs(), "still": 0 * x},
        (torch.from_numpy(values), np.arange(80) % 2),
        [lambda x: x, lambda x: -x],
        measures=iv.Information(units=12),
        by_class=True,
        progress=False,
    )
    counts = {
        (row["layer"], row["stratum"]): (row["units"], row["dead_units"], row["sparse_units"])
        for row in result.rows
        if row["measure"] == "information.transform"
    }
    dead = int((chosen_units(30, 12, seed=0) % 2 == 0).sum())
    assert 0 < dead < 12
    assert {counts["a", stratum] for stratum in ("all", "0", "1", "mean")} == {(12, dead, 0)}
    assert {counts["still", stratum] for stratum in ("all", "0", "1", "mean")} == {(12, 12, 0)}
    notes = {row["note"] for row in result.rows if row["layer"] == "still" and row["stratum"] == "all"}
    assert notes == {"no value: all units are dead, sparse or infinite"}


def test_the_pilot_keeps_the_samples_with_the_smallest_hashes_in_any_order():
    values, labels = normal(90, 1, 3), np.arange(90) % 4
    pilot, order = BinPilot(3, 20, True, 5), np.random.default_rng(0).permutation(90)
    found = []
    for indices, edges in ((np.arange(90), (0, 90)), (order, (0, 11, 50, 90))):
        whole = {"indices": indices, "labels": labels[indices]}
        parts = [(values[indices], lo, hi) for lo, hi in itertools.pairwise(edges)]
        states = [pilot.init(block_of(values, None, 0, 1), buckets=1) for _ in parts]
        for state, (fed, lo, hi) in zip(states, parts, strict=True):
            pilot.update(state, block_of(fed, whole["labels"], lo, hi, indices=whole["indices"]))
        state = states[0]
        for other in states[1:]:
            state = pilot.merge(state, other)
        found.append(pilot.finalize(state, [[0]]))
    np.testing.assert_array_equal(found[0].edges, found[1].edges)
    np.testing.assert_array_equal(found[0].labels, found[1].labels)
    chosen = np.argsort(Draws(5, np.arange(90), stream=Stream.BIN_SAMPLE).uniform()[:, 0])[:20]
    lower, upper = np.sort(values[chosen, 0], axis=0)[9:11]
    np.testing.assert_allclose(found[0].edges[7], lower + BETWEEN * (upper - lower))


def test_within_a_class_there_is_information_about_the_element_alone():
    x, y = torch.from_numpy(normal(60, 4)), torch.arange(60) % 3
    doubled = [lambda x: x, lambda x: x + 1]
    options = {"measures": "information", "by_class": True, "progress": False}
    table = iv.measure(lambda x: {"a": x}, (x, y), doubled, **options).table
    assert set(table["measure"][table["stratum"] == "all"]) >= {
        "information.label",
        "information.label_share",
    }
    assert set(table["measure"][table["stratum"] == "2"]) == {
        "information.transform",
        "information.transform_share",
    }


def test_counts_that_do_not_fit_the_memory_are_refused_before_the_walk():
    x, y = torch.from_numpy(normal(50, 300)), torch.arange(50) % 10
    options = {"measures": "information", "progress": False, "memory_gb": 3e-3}
    with pytest.raises(
        ValueError, match=r"need 0\.0\d+ GiB, but the budget is 0\.003 GiB\. Select fewer layers"
    ):
        iv.measure(lambda x: {"a": x}, (x, y), [lambda x: x] * 40, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units must be an integer, at least 1; got 0"),
        ({"pilot": 3}, "pilot must be an integer, at least 16; got 3"),
        ({"permutations": True}, "permutations must be an integer, at least 0; got True"),
    ],
)
def test_information_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        iv.Information(**options)


# Both


@pytest.mark.parametrize("measure", [iv.Goodfellow(alpha=0.1), iv.Information()], ids=lambda m: m.name)
def test_a_state_that_was_packed_in_a_file_and_unpacked_goes_on_as_if_nothing_had_happened(measure):
    activations, labels = normal(40, 3, 2, 2), np.arange(40) % 3
    (statistic,) = measure.statistics()
    pilot = statistic.pilot.init(block_of(activations[:, :1], labels, 0, 20), buckets=1)
    for lo, hi in ((0, 20), (20, 40)):
        statistic.pilot.update(pilot, block_of(activations[:, :1], labels, lo, hi))
        pilot = statistic.pilot.unpack(statistic.pilot.pack(pilot))
    known = statistic.pilot.finalize(pilot, [[0]])
    blocks = [block_of(activations, labels, lo, lo + 20, probes=columns_behind(measure, 3)) for lo in (0, 20)]
    state = statistic.init(blocks[0], buckets=1, pilot=known)
    for block in blocks:
        statistic.update(state, block)
        state = statistic.unpack(statistic.pack(state))
    expected, found = final_values(measure, activations, labels), statistic.finalize(state, [[0]])
    for name, values in measure.evaluate((found,), LayerContext("layer", 0, (2, 2))).items():
        np.testing.assert_array_equal(values.values, expected[name].values)


@pytest.mark.parametrize("measure", [iv.Goodfellow(alpha=0.1), iv.Information()], ids=lambda m: m.name)
def test_an_interrupted_measurement_goes_on_to_the_same_numbers(measure, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint

    def stop(done, total):
        if done >= 30:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    x, y = torch.from_numpy(normal(80, 6)), torch.arange(80) % 3
    options = {"measures": measure, "batch_size": 20}
    wanted = (lambda x: {"a": x}, (x, y), [lambda x: x, lambda x: x**2])
    with pytest.raises(KeyboardInterrupt):
        iv.measure(*wanted, checkpoint=tmp_path / "sums", progress=stop, **options)
    resumed = iv.measure(*wanted, checkpoint=tmp_path / "sums", progress=False, **options)
    whole = iv.measure(*wanted, progress=False, **options)
    pd.testing.assert_frame_equal(resumed.table, whole.table)
    forwards = [r.provenance["options"]["forwarded_inputs"] for r in (resumed, whole)]
    assert forwards == [80 * (1 + 2 + len(measure.probes))] * 2  # the pilot, two elements, the probes


@pytest.mark.parametrize("measure", ["goodfellow", "information"])
def test_a_response_that_is_not_a_number_is_an_error_that_names_the_layer(measure):
    class Broken(nn.Module):
        def forward(self, x):
            return torch.where(x > 2, torch.nan, x).exp()

    x = torch.from_numpy(normal(50, 8))
    with pytest.raises(ValueError, match=r"NaN|finite"):
        iv.measure(Broken(), x, [lambda x: x, lambda x: x + 1], measures=measure, layers="*", progress=False)


def test_a_score_of_a_few_firing_samples_has_no_interval_and_says_why():
    torch.manual_seed(0)
    data = torch.randn(96, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    for alpha, issued in ((0.01, False), (0.2, True)):
        measure = iv.Goodfellow(alpha=alpha)
        (row,) = [
            r
            for r in iv.measure(net, data, iv.QuarterTurns(), measures=[measure], progress=False).rows
            if r["measure"] == "goodfellow"
        ]
        assert np.isfinite(row["ci_low"]) == issued
        assert ("expected to fire" in row.get("note", "")) != issued
