"""Stability by medians: arrays and a real network against the oracle, and the drawn subset of pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_measure import final_values, finals_of, plain

import invariscope as iv
from invariscope import zoo
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.probes import Batch, EqualNoise

DIGITS = zoo.load("mnist_subset", samples=72)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(2, 9),
    moved=st.integers(1, 3),
    units=st.integers(1, 5),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    seed=st.integers(0, 10_000),
    cut=st.integers(1, 8),
    pairs=st.sampled_from(["different", "all"]),
)
def test_any_array_gives_what_the_definition_says(samples, moved, units, scale, seed, cut, pairs):
    rng = np.random.default_rng(seed)
    responses = scale * rng.normal(size=(samples, 2 * (moved + 1), units))
    measure = iv.Stability(average="median", pairs=pairs)
    found = final_values(measure, responses, parts=(min(cut, samples),))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = measure.oracle(responses, None)
    for output, value in expected.items():
        np.testing.assert_allclose(plain(found[output]), value, rtol=1e-9)


def test_a_network_on_digits_gives_what_the_definition_says_of_its_activations():
    model, x, transform = zoo.build("simple_conv", filters=4).eval(), DIGITS.images, iv.Diffeomorphism(2)
    measure = iv.Stability(average="median")
    keys = np.arange(len(x))
    options = {"measures": measure, "layers": "relu4", "progress": False, "ids": keys}
    table = iv.measure(model, DIGITS, transform, **options).table
    orbit = transform.orbit(x, keys=keys)
    noisy = EqualNoise().inputs(x, orbit, batch=Batch(keys, keys, np.full(len(x), -1), seed=0))
    inputs = torch.cat([x[:, None], orbit, x[:, None], noisy], dim=1)
    kept = {}
    model.relu4.register_forward_hook(lambda _, given, out: kept.update(out=out.detach()))
    model(inputs.flatten(0, 1))
    expected = measure.oracle(kept["out"].unflatten(0, inputs.shape[:2]).double().numpy(), None)
    for output, value in expected.items():
        got = table.set_index("measure").value[f"stability.{output}"]
        assert got == pytest.approx(value, rel=1e-4)
    assert table.ci_low.notna().all()
    assert table.set_index("measure").null["stability.D"] > 0.5


def test_the_denominator_is_the_median_over_the_pairs_of_the_drawn_subset():
    rng = np.random.default_rng(0)
    responses, indices = rng.normal(size=(30, 4, 6)), rng.permutation(300)[:30]
    kept = np.argsort(drawn_words(indices, 5, Stream.DISTANCE_RESERVOIR))[:7]
    rest = responses[kept, 0]
    pairs = [np.square(a - b).sum() for i, a in enumerate(rest) for k, b in enumerate(rest) if i != k]
    measure = iv.Stability(average="median", subset=7, seed=5)
    given = {"indices": indices, "parts": (4, 11), "merge_at": 11}
    _, far = finals_of(measure, responses, **given)
    assert far.medians()[0] == pytest.approx(np.median(pairs), rel=1e-12)
    groups = np.arange(30) % 3
    _, far = finals_of(measure, responses, buckets=groups, groups=((0,), (1,), (2,)), **given)
    without = [
        np.square(a - b).sum()
        for i, a in zip(kept, rest, strict=True)
        for k, b in zip(kept, rest, strict=True)
        if i != k and groups[i] != 1 and groups[k] != 1
    ]
    assert far.medians()[2] == pytest.approx(np.median(without), rel=1e-12)


def test_a_few_wild_samples_move_the_mean_and_not_the_median():
    rng = np.random.default_rng(1)
    responses = rng.normal(size=(64, 4, 5))
    wild = responses.copy()
    wild[:2, 1] *= 1e3
    by_median, by_mean = (iv.Stability(average=average) for average in ("median", "mean"))
    value = {
        m: [float(plain(final_values(m, r)["D"])) for r in (responses, wild)] for m in (by_median, by_mean)
    }
    assert value[by_median][1] == pytest.approx(value[by_median][0], rel=0.1)
    assert value[by_mean][1] > 100 * value[by_mean][0]


@pytest.mark.parametrize("subset", [1, 2.5, "all"])
def test_a_subset_without_pairs_is_refused(subset):
    with pytest.raises(ValueError, match=r"subset must be an integer \(samples\), at least 2"):
        iv.Stability(average="median", subset=subset)
