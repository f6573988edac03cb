"""ANOVA and distances against brute force, on arbitrary arrays and on a real network, and edge cases."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_every_measure import block_of, final_values, finals_of, shape_of

import invariscope as iv
from invariscope import zoo
from invariscope.common.draws import Stream, drawn_words
from invariscope.measures.anova_table import CORRECTIONS, f_critical, f_survival, share_rejecting
from invariscope.measures.values import LayerContext
from invariscope.statistics.kept.reservoir import Reservoir

pytestmark = pytest.mark.usefixtures("seeded")

SHARES = ("share_sample", "share_transform", "share_residual")
DISTANCE_CLASSES = (iv.TransformationDistance, iv.SampleDistance, iv.NormalizedDistance)
MEASURES = [
    iv.Anova(min_firing=0),
    iv.Anova(min_firing=0, sphericity="greenhouse_geisser"),
    *(
        cls(distance=distance)
        for cls in DISTANCE_CLASSES
        for distance in ("sqeuclidean", "euclidean", "cosine")
    ),
]
IDS = [f"{m.name}-{i}" for i, m in enumerate(MEASURES)]


def two_way(seed, *, samples=60, elements=6, units=40, sample=1.0, transform=1.0, residual=1.0, offset=0.0):
    """Responses with effects of the given sizes, float32."""
    rng = np.random.default_rng(seed)
    effects = (
        sample * rng.normal(size=(samples, 1, units))
        + transform * rng.normal(size=(1, elements, units))
        + residual * rng.normal(size=(samples, elements, units))
    )
    return (offset + effects).astype(np.float32)


def of_all(measure, activations):
    """Values of all samples, by output."""
    return {name: values.values[0] for name, values in final_values(measure, activations).items()}


@pytest.mark.parametrize("measure", MEASURES, ids=IDS)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(2, 9), st.integers(2, 5), st.integers(1, 3), st.integers(1, 4)),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_any_array_gives_what_brute_force_gives(measure, seed, shape, scale):
    rng = np.random.default_rng(seed)
    activations = scale * (rng.normal(size=shape) + rng.normal(size=(shape[0], 1, *shape[2:])))
    found = of_all(measure, activations)
    for name, expected in measure.oracle(activations, None).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.fixture(scope="module")
def layers_of_simple_conv():
    """Digits, and a callable that returns the responses of three layers of a SimpleConv."""
    digits = zoo.load("mnist_subset", samples=24)
    net = zoo.build("simple_conv", input_shape=digits.shape, classes=10, filters=4).double().eval()
    wanted = ("conv1", "pool1", "relu5")

    def layers(x):
        kept = {}
        hooks = [
            net.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name: kept.update({name: out})
            )
            for name in wanted
        ]
        with torch.no_grad():
            net(x.double())
        for hook in hooks:
            hook.remove()
        return {name: out.clone() for name, out in kept.items()}

    return digits.images, layers


@pytest.mark.parametrize("measure", MEASURES, ids=IDS)
def test_a_real_networks_layers_get_what_brute_force_gives_for_their_activations(
    measure, layers_of_simple_conv
):
    images, layers = layers_of_simple_conv
    orbit = iv.QuarterTurns().orbit(images)
    activations = {name: out.unflatten(0, (24, 4)) for name, out in layers(orbit.flatten(0, 1)).items()}
    result = iv.measure(layers, images, iv.QuarterTurns(), measures=[measure], progress=False)
    for layer, responses in activations.items():
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units that nothing moves: 0/0 in the brute-force formula
            expected = measure.oracle(responses.numpy(), None)
        for output, answer in expected.items():
            name = f"{measure.name}.{output}" if output else measure.name
            if (name, layer) in result.maps:
                found = result.maps[name, layer]
                alive = np.isfinite(found) & np.isfinite(answer)
                assert alive.mean() > 0.3
            else:
                found = np.array(result.table.set_index(["measure", "layer"]).loc[(name, layer), "value"])
                alive = np.array(not output.startswith("rejecting"))
            np.testing.assert_allclose(found[alive], answer[alive], rtol=1e-7, atol=1e-12, err_msg=output)


@pytest.mark.parametrize(
    ("sample", "transform", "residual"),
    [(1.0, 1e-3, 1e-3), (1.0, 1.0, 1e-3), (1e-3, 1.0, 1e-3), (1.0, 1e-3, 1.0)],
)
@pytest.mark.parametrize("offset", [0.0, 3.0, 100.0])
def test_shares_of_a_millionth_are_right_in_float32(sample, transform, residual, offset):
    activations = two_way(0, sample=sample, transform=transform, residual=residual, offset=offset)
    found, expected = of_all(iv.Anova(), activations), iv.Anova().oracle(activations.astype(np.float64), None)
    for name in (*SHARES, "F"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)


def test_shares_sum_to_one():
    found = of_all(iv.Anova(), two_way(1, offset=100.0))
    np.testing.assert_allclose(sum(found[name] for name in SHARES), 1.0, rtol=1e-12)


def test_ratio_beside_a_share_is_that_of_the_layers_sums():
    activations = two_way(2).astype(np.float64) * np.geomspace(0.1, 10, 40)
    share = final_values(iv.Anova(), activations)["share_transform"]
    mean = activations.mean((0, 1))
    above = len(activations) * ((activations.mean(0) - mean) ** 2).sum()
    assert share.ratio[0] == pytest.approx(above / ((activations - mean) ** 2).sum(), rel=1e-12)
    assert share.ratio[0] != pytest.approx(share.layer_values()[0], rel=1e-3)


def test_tests_of_units_without_an_effect_reject_at_their_level():
    activations = two_way(3, units=4000, transform=0.0)
    p = of_all(iv.Anova(), activations)["p"]
    assert abs((p <= 0.05).mean() - 0.05) < 0.012
    assert of_all(iv.Anova(), activations)["rejecting_bonferroni"] <= 2 / 4000


def test_the_published_one_way_f_is_not_a_test_of_its_level():
    """One-way F of repeated measures: differences between samples inflate its denominator."""
    activations = two_way(4, units=2000, transform=0.0, sample=3.0)
    f = of_all(iv.Anova(), activations)["F_oneway"]
    assert (stats.f.sf(f, 5, 6 * 59) <= 0.05).mean() < 0.001


def test_neighbouring_elements_that_vary_alike_need_the_corrected_degrees_of_freedom():
    rng = np.random.default_rng(5)
    walks = rng.normal(size=(40, 8, 3000)).cumsum(axis=1)
    taken = of_all(iv.Anova(), walks)["p"]
    corrected = of_all(iv.Anova(sphericity="greenhouse_geisser"), walks)["p"]
    assert (taken <= 0.05).mean() > 0.08
    assert abs((corrected <= 0.05).mean() - 0.05) < 0.015


def test_the_covariance_of_elements_is_refused_where_it_does_not_fit():
    images = torch.rand(8, 1, 64, 64)
    model = torch.nn.Conv2d(1, 64, 3, padding=1).eval()
    options = {"progress": False, "intervals": False, "memory_gb": 0.11, "units": "all"}
    measure = iv.Anova(sphericity="greenhouse_geisser")
    with pytest.raises(ValueError, match="raise memory_gb"):
        iv.measure(model, images, iv.Rotation.circle(16), measures=[measure], **options)
    assert len(iv.measure(model, images, iv.Rotation.circle(16), measures=[iv.Anova()], **options).table)


@settings(max_examples=60, deadline=None)
@given(
    p=st.lists(st.sampled_from([0.0, 1e-9, 1e-3, 0.01, 0.02, 0.04, 0.05, 0.3, 1.0]), min_size=1, max_size=30),
    alpha=st.sampled_from([0.01, 0.05, 0.5]),
)
def test_rejections_are_those_of_the_sorted_p_values(p, alpha):
    ranked, count = np.sort(p), len(p)
    ranks = np.arange(1, count + 1)
    levels = (alpha / count, alpha * ranks / count, alpha * ranks / count / (1 / ranks).sum())
    for correction, level in zip(CORRECTIONS, levels, strict=True):
        passing = np.flatnonzero(ranked <= level * (1 + 1e-12))
        expected = (passing[-1] + 1) / count if len(passing) else 0.0
        found = share_rejecting(correction, count, alpha * (1 + 1e-12), lambda x: int((ranked <= x).sum()))
        assert found == expected, correction


def test_no_test_at_all_rejects_no_share():
    assert np.isnan(share_rejecting("bonferroni", 0, 0.05, lambda level: 0))


@given(st.floats(1e-12, 0.999), st.integers(1, 30), st.integers(1, 5000))
def test_critical_values_undo_p_values(p, above, below):
    f = f_critical(p, above, below)
    assert f_survival(np.array([f]), above, below)[0] == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sphericity": "huynh"}, "unknown sphericity 'huynh'"),
        ({"correction": "holm"}, "unknown correction 'holm'"),
        ({"alpha": 5}, "alpha must be a level between 0 and 1"),
        ({"min_firing": -1}, "min_firing must be an integer"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        iv.Anova(**options)


def test_a_distance_or_reservoir_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown distance 'manhattan'"):
        iv.SampleDistance(distance="manhattan")
    with pytest.raises(ValueError, match=r"reservoir must be an integer \(samples\), at least 2"):
        iv.SampleDistance(reservoir=1)


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
def test_distances_are_right_at_an_offset_and_for_a_nearly_invariant_layer(distance):
    activations = two_way(6, transform=1e-3, residual=1e-3, offset=10.0)
    for cls in DISTANCE_CLASSES:
        measure = cls(distance=distance)
        expected = measure.oracle(activations.astype(np.float64), None)[""]
        np.testing.assert_allclose(of_all(measure, activations)[""], expected, rtol=1e-6)


def test_squared_distances_are_twice_the_summed_variances_and_have_their_null():
    activations = two_way(7).astype(np.float64)
    found = final_values(iv.NormalizedDistance(), activations)[""]
    normalized = final_values(iv.NormalizedVariance(min_firing=0), activations)[""]
    assert found.values[0] == pytest.approx(normalized.ratio[0], rel=1e-12)
    rng = np.random.default_rng(0)
    mixed = np.stack([activations[rng.permutation(60), j] for j in range(6)], axis=1)
    draws = [of_all(iv.TransformationDistance(), mixed)[""]]
    for _ in range(40):
        mixed = np.stack([activations[rng.integers(0, 60, 60), j] for j in range(6)], axis=1)
        draws.append(of_all(iv.TransformationDistance(), mixed)[""])
    null = final_values(iv.TransformationDistance(), activations)[""].null
    assert null == pytest.approx(np.mean(draws), rel=0.02)


def test_vectors_without_direction_are_left_out_and_counted():
    activations = np.abs(np.random.default_rng(8).normal(size=(6, 3, 2, 4)))
    activations[0, 1], activations[2, :, 1] = 0.0, 0.0
    measure = iv.TransformationDistance(distance="cosine")
    found = final_values(measure, activations)
    assert found[""].undefined == 1
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        answers = measure.oracle(activations, None)
    np.testing.assert_allclose(found[""].values[0], answers[""], rtol=1e-10)
    np.testing.assert_allclose(found["channels"].values[0], answers["channels"], rtol=1e-10)


def test_a_layer_that_nothing_moves_has_no_normalized_distance():
    activations = np.ones((4, 3, 2, 2))
    activations[..., 1, :] += np.arange(4.0)[:, None, None]
    for distance in ("sqeuclidean", "euclidean"):
        found = final_values(iv.NormalizedDistance(distance=distance), activations)["channels"]
        np.testing.assert_array_equal(found.values[0], [np.nan, 0.0])
        assert (found.dead, found.counted.tolist()) == (1, [False, True])
    still = of_all(iv.NormalizedDistance(), np.ones((4, 3, 2)))[""]
    assert np.isnan(still)
    assert np.isnan(of_all(iv.NormalizedDistance(distance="cosine"), np.ones((4, 3, 2)))[""])


def test_the_reservoir_holds_the_same_samples_in_any_order_partition_and_merge():
    activations = two_way(9, samples=50, units=5).astype(np.float64)
    measure = iv.SampleDistance(distance="euclidean", reservoir=12)
    kept = np.argsort(drawn_words(np.arange(50), 0, Stream.ORBIT_RESERVOIR))[:12]
    expected = measure.oracle(activations[kept], None)[""]
    assert of_all(measure, activations)[""] == pytest.approx(expected, rel=1e-12)
    order = np.random.default_rng(0).permutation(50)
    fed = {"indices": order, "parts": (3, 20, 21), "merge_at": 30}
    found = final_values(measure, activations[order], **fed)[""]
    assert found.values[0] == pytest.approx(expected, rel=1e-12)


def test_a_reservoir_of_several_buckets_is_that_of_their_union():
    activations = two_way(10, samples=60, units=5).astype(np.float64)
    measure = iv.SampleDistance(distance="euclidean", reservoir=16)
    buckets = np.arange(60) % 4
    finals = finals_of(measure, activations, buckets=buckets, groups=((0,), (1,), (2,), (3,)))
    found = measure.evaluate(finals, LayerContext("layer", 0, shape_of(activations)))[""]
    kept = np.argsort(drawn_words(np.arange(60), 0, Stream.ORBIT_RESERVOIR))[:16]
    assert found.values[0] == pytest.approx(measure.oracle(activations[kept], None)[""], rel=1e-12)
    rest = kept[buckets[kept] != 2]
    assert found.values[3] == pytest.approx(measure.oracle(activations[rest], None)[""], rel=1e-12)


def test_another_seed_draws_another_reservoir_of_which_each_is_a_fair_sample():
    activations = two_way(11, samples=200, units=5).astype(np.float64)
    whole = of_all(iv.SampleDistance(distance="euclidean", reservoir=200), activations)[""]
    parts = [
        of_all(iv.SampleDistance(distance="euclidean", reservoir=20, seed=seed), activations)[""]
        for seed in range(30)
    ]
    assert len(set(parts)) == 30
    assert np.mean(parts) == pytest.approx(whole, rel=0.03)


def test_a_reservoir_state_survives_packing():
    activations = two_way(12, samples=10, units=5)
    statistic = Reservoir(4, 0)
    block = block_of(activations, None, 0, 10)
    state = statistic.init(block, buckets=1)
    statistic.update(state, block)
    again = statistic.unpack(statistic.pack(state))
    first, second = (statistic.finalize(s, [[0]]).layer.across for s in (state, again))
    np.testing.assert_array_equal(first, second)


def test_numbers_that_grow_with_the_samples_have_no_interval_and_say_why():
    data = torch.randn(96, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    rows = iv.measure(net, data, iv.QuarterTurns(), measures="anova", progress=False).rows
    for row in rows:
        growing = row["measure"].split(".")[1] in ("F", "p", "F_oneway") or "rejecting" in row["measure"]
        assert np.isnan(row["ci_low"]) == growing
        assert ("grows with the number" in row.get("note", "")) == growing


@pytest.mark.parametrize("distance", ["sqeuclidean", "cosine", "euclidean"])
def test_a_channel_that_nothing_moves_is_left_out_whatever_the_distance(distance):
    data = torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3))
    with torch.no_grad():
        net[0].weight[1] = 0
        net[0].bias[1] = 0
    measure = iv.TransformationDistance(distance=distance)
    result = iv.measure(net, data, iv.QuarterTurns(), measures=[measure], progress=False)
    channels = result.maps["transformation_distance.channels", "0"]
    assert np.isnan(channels).tolist() == [False, True, False]
