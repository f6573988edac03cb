"""Dead, infinite and sparse units, presets and nulls: which units enter a layer's value."""

from __future__ import annotations

import numpy as np
import pytest
from test_every_measure import final_values, finals_of

from invariscope.measures.values import LayerContext
from invariscope.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance
from invariscope.statistics.moments.orbit_moments import OrbitMoments


def units(measure, activations, **options):
    return final_values(measure, activations, **options)[""]


def orbits(*columns):
    """(sample, element, unit) from one (sample, element) table per unit."""
    return np.stack([np.asarray(column, float) for column in columns], axis=-1)


MOVING = [[0.0, 2.0], [4.0, 6.0]]
STILL = [[3.0, 3.0], [3.0, 3.0]]
ELEMENTS_ONLY = [[1.0, 2.0], [1.0, 2.0]]


def test_a_dead_unit_is_nan_left_out_and_counted():
    found = units(NormalizedVariance(), orbits(MOVING, STILL))
    assert np.isnan(found.values[0, 1])
    assert found.dead == 1
    assert found.layer_values()[0] == pytest.approx(2.0 / 8.0)


def test_a_unit_that_only_elements_move_is_infinite_and_left_out():
    found = units(NormalizedVariance(), orbits(MOVING, ELEMENTS_ONLY))
    assert np.isposinf(found.values[0, 1])
    assert (found.dead, found.infinite) == (0, 1)
    assert found.layer_values()[0] == pytest.approx(0.25)


def test_the_published_convention_counts_dead_units_as_one():
    found = units(NormalizedVariance(preset="tmeasures"), orbits(MOVING, STILL))
    assert found.values[0].tolist() == [pytest.approx(0.5), 1.0]
    assert found.layer_values()[0] == pytest.approx(0.75)


def test_rounding_left_by_interpolation_is_zero_not_a_live_unit():
    noise = 1e-17 * np.random.default_rng(0).normal(size=(30, 4, 5))
    alive = np.random.default_rng(1).normal(size=(30, 4, 5))
    found = units(NormalizedVariance(), np.concatenate([alive, noise], axis=2))
    assert found.dead == 5


def test_float32_rounding_around_a_large_constant_is_dead():
    rng = np.random.default_rng(0)
    constant = np.float32(1000) * (1 + np.float32(1e-7) * rng.integers(-1, 2, (40, 4, 3)))
    found = units(NormalizedVariance(), constant.astype(np.float32))
    assert found.dead == 3


def test_small_but_real_variances_at_a_large_offset_keep_their_value():
    rng = np.random.default_rng(0)
    activations = 1e4 + rng.normal(size=(64, 1, 3)) + 1e-3 * rng.normal(size=(64, 4, 3))
    found = units(NormalizedVariance(), activations)
    assert found.dead == 0
    np.testing.assert_allclose(found.values[0], NormalizedVariance().oracle(activations, None)[""], rtol=1e-6)


@pytest.mark.parametrize("usual", [0.0, 0.25])
@pytest.mark.parametrize(("samples", "few"), [(8, 2), (19, 5), (20, 5), (64, 16), (200, 20)])
def test_a_unit_at_its_usual_response_for_all_but_a_few_samples_is_sparse_and_left_out(usual, samples, few):
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(samples, 4, 3))
    activations[:, :, 1:] = usual * np.arange(4)[:, None]
    activations[1 : few + 1, 3, 1] += 1 + rng.random(few)
    activations[1:few, 3, 2] += 1 + rng.random(few - 1)
    found = units(NormalizedVariance(), activations)
    assert (found.sparse, found.dead, found.infinite) == (1, 0, 0)
    assert found.counted.tolist() == [True, True, False]
    assert np.isfinite(found.values[0]).all()
    assert units(NormalizedVariance(min_firing=0), activations).sparse == 0


def test_a_unit_at_its_bias_in_all_but_two_samples_spoils_no_replicate():
    activations = np.random.default_rng(0).normal(size=(64, 4, 2))
    activations[:, :, 1] = 0.25
    activations[[8, 16], 1, 1] = 1.0
    buckets, groups = np.arange(64) % 8, [[g] for g in range(8)]
    found = units(NormalizedVariance(), activations, buckets=buckets, groups=groups)
    assert found.sparse == 1
    assert np.isfinite(found.layer_values()).all()
    assert not np.isfinite(found.values[:, 1]).all()


def test_a_unit_that_follows_the_element_alone_is_infinite_and_not_sparse_too():
    found = units(NormalizedVariance(), orbits(MOVING, ELEMENTS_ONLY))
    assert (found.sparse, found.infinite) == (0, 1)


def test_the_ratio_of_means_differs_from_the_mean_of_ratios():
    found = units(NormalizedVariance(min_firing=0), orbits(MOVING, [[0.0, 1.0], [0.0, 3.0]]))
    tv, sv = [2.0, 2.5], [8.0, 1.0]
    assert found.layer_values()[0] == pytest.approx((tv[0] / sv[0] + tv[1] / sv[1]) / 2)
    assert found.ratio[0] == pytest.approx(sum(tv) / sum(sv))


def test_the_null_is_what_independent_rows_would_give():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(4000, 6, 3)) + np.arange(6)[:, None] * np.array([0.0, 0.5, 2.0])
    found = units(NormalizedVariance(), activations)
    shuffled = np.stack([rng.permuted(activations[:, j], axis=0) for j in range(6)], axis=1)
    expected = NormalizedVariance().oracle(shuffled, None)[""]
    np.testing.assert_allclose(found.null, expected, rtol=0.03)


def test_an_invariant_units_value_is_far_below_its_null():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(200, 1, 4)) + 1e-3 * rng.normal(size=(200, 8, 4))
    found = units(NormalizedVariance(), activations)
    assert found.layer_values()[0] < 1e-4 * found.layer_null()


def test_dividing_by_a_random_networks_variance_uses_the_reference():
    activations = np.random.default_rng(0).normal(size=(30, 4, 3))
    measure = NormalizedVariance(norm="random_net")
    assert measure.needs_reference
    finals = finals_of(measure, activations)
    found = measure.evaluate(finals, LayerContext("a", 0, (3,), reference=np.array([1.0, 2.0, 4.0])))[""]
    expected = TransformationVariance().oracle(activations, None)[""] / [1.0, 2.0, 4.0]
    np.testing.assert_allclose(found.values[0], expected)


def test_presets_set_the_published_options():
    legacy = NormalizedVariance(preset="quiroga2019")
    assert (legacy.spread, legacy.pool, legacy.degenerate, legacy.min_firing) == (
        "std",
        "before_mean",
        "one",
        0,
    )
    assert legacy.statistics()[0].selection == "windows"
    assert NormalizedVariance(preset="quiroga2019_full").statistics()[0].selection is None
    assert NormalizedVariance(preset="slides").statistics()[0] == OrbitMoments(every_unit=True)


@pytest.mark.parametrize("option", ["preset", "spread", "pool", "norm", "degenerate"])
def test_an_unknown_option_is_answered_with_what_there_is(option):
    with pytest.raises(ValueError, match=f"unknown {option} 'nonsense'"):
        NormalizedVariance(**{option: "nonsense"})


def test_a_misspelt_option_is_answered_with_the_closest():
    with pytest.raises(TypeError, match=r"unknown option of NormalizedVariance 'spred'\. Closest: 'spread'"):
        NormalizedVariance(spred="std")


def test_the_whole_family_shares_one_statistic():
    family = (TransformationVariance(), SampleVariance(), NormalizedVariance())
    assert len({statistic for measure in family for statistic in measure.statistics()}) == 1


def test_a_layer_without_a_live_unit_has_no_value():
    found = units(NormalizedVariance(), orbits(STILL, STILL))
    assert found.dead == 2
    assert np.isnan(found.layer_values()[0])
