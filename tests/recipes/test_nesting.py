"""Several trainings made one number: by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from invariscope.intervals import Interval, jackknife
from invariscope.lab.recipes.quantities import Estimate, NoValueError, nested
from invariscope.lab.recipes.quantities.base import added

SIZES = [10] * 8


def estimate(value: float, step: float = 0.001, *, samples: str = "same") -> Estimate:
    """Leaving group g out adds step·(g − 3.5)."""
    return Estimate.of(value, [value + step * (g - 3.5) for g in range(8)], SIZES, samples)


def test_satterthwaite_weighs_degrees_of_freedom_by_the_fourth_power_of_errors():
    parts = [Interval(0, 0, 0, 0.6, 2), Interval(0, 0, 0, 0.8, 7)]
    # (0.36 + 0.64)² / (0.1296/2 + 0.4096/7) = 1 / 0.1233143
    assert added(parts) == pytest.approx((1.0, 8.1093605))
    assert added([Interval(0, 0, 0, 0.5, 2), Interval(0, 0, 0, 0.0, 7)]) == pytest.approx((0.5, 2.0))
    assert added([Interval(0, 0, 0, 0.0, 2), Interval(0, 0, 0, 0.0, 7)]) == (0.0, 2)


def test_three_trainings_on_the_same_samples_by_hand():
    found = nested([estimate(1.0), estimate(1.1), estimate(1.3)])
    # Mean 3.4/3; s² = (0.1333² + 0.0333² + 0.1667²)/2 = 0.0233333, over K: 0.00777778.
    # Jackknife over samples: e² = 7/8 · 0.001² · Σ(g − 3.5)² = 7/8 · 42e-6 = 36.75e-6.
    assert found.value == pytest.approx(3.4 / 3)
    assert found.interval.error**2 == pytest.approx(0.00777778 + 36.75e-6, rel=1e-6)
    freedom = (0.00777778 + 36.75e-6) ** 2 / (0.00777778**2 / 2 + 36.75e-6**2 / 7)
    assert found.interval.freedom == pytest.approx(freedom, rel=1e-6)
    assert freedom == pytest.approx(2.018932, rel=1e-5)
    # t at 97.5 % with 2.01893 degrees of freedom is 4.26421.
    assert found.interval.high - found.value == pytest.approx(4.26421 * found.interval.error, rel=1e-5)
    assert (found.trainings, found.covers) == (3, "samples within trainings")


def test_the_luck_of_shared_samples_does_not_average_out():
    alike = nested([estimate(1.0, 0.01)] * 3)
    assert alike.interval.error == pytest.approx(estimate(1.0, 0.01).interval.error)
    assert alike.interval.freedom == pytest.approx(7)
    opposed = nested([estimate(1.0, 0.01), estimate(1.0, -0.01), estimate(1.0, 0.0)])
    assert opposed.interval.error == pytest.approx(0, abs=1e-12)


def test_without_an_error_over_samples_the_interval_is_over_trainings_only():
    found = nested([Estimate(1.0), Estimate(2.0), Estimate(6.0)])
    # s/√3 with s² = (4 + 1 + 9)/2 = 7; t with 2 degrees of freedom is 4.302653.
    assert found.covers == "trainings"
    assert found.interval.high == pytest.approx(3 + 4.302653 * math.sqrt(7 / 3), rel=1e-6)


def test_groups_that_cannot_be_matched_give_the_largest_error_that_they_can_have():
    found = nested([estimate(1.0, 0.01, samples="a"), estimate(1.0, 0.02, samples="b")])
    each = [estimate(1.0, step).interval.error for step in (0.01, 0.02)]
    assert found.interval.error == pytest.approx(math.sqrt(np.mean(np.square(each))))


def test_ratios_are_averaged_as_logarithms():
    ratios = [Estimate(math.log(value)).exponential() for value in (1.0, 2.0, 4.0)]
    found = nested(ratios)
    assert found.value == pytest.approx(2.0)
    reach = 4.302653 * math.log(2) / math.sqrt(3)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (2 * math.exp(-reach), 2 * math.exp(reach)), rel=1e-6
    )
    assert found.interval.p_at(found.interval.high) == pytest.approx(0.05)
    with_samples = nested(
        [estimate(value, 0.1 * value).logarithm().exponential() for value in (1.0, 2.0, 4.0)]
    )
    logs = [math.log(1 + 0.1 * (g - 3.5)) for g in range(8)]
    samples = jackknife(0.0, logs, SIZES).error
    error = math.hypot(math.log(2) / math.sqrt(3), samples)
    assert with_samples.interval.error / with_samples.interval.centre == pytest.approx(error)


def test_a_training_without_a_finite_value_is_refused():
    with pytest.raises(NoValueError, match="no finite value"):
        nested([Estimate(1.0), Estimate(math.nan), Estimate(1.0)])


def test_a_difference_keeps_what_is_nested_inside():
    families = Estimate.of(1.0, [0.9, 1.1, 1.0, 1.05], [3] * 4, "families")
    one = families.holding(estimate(1.0, 0.01))
    other = families.holding(estimate(1.0, 0.03))
    # The families move both alike, so the samples' error is left: that of the step 0.02.
    assert one.minus(other).interval.error == pytest.approx(estimate(0.0, 0.02).interval.error)
    assert one.minus(one).interval.error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("trainings", [3, 5])
def test_nested_intervals_cover_the_truth_in_19_of_20_simulations(trainings):
    rng, runs, covered, one_level = np.random.default_rng(trainings), 800, 0, 0
    for _ in range(runs):
        # (training, group, sample): trainings of deviation 1, and 64 shared samples of deviation 8.
        values = rng.normal(size=(trainings, 1, 1)) + 8 * rng.normal(size=(8, 8))
        totals, groups = values.sum(axis=(1, 2)), values.sum(axis=2)
        omitted = (totals[:, None] - groups) / 56
        estimates = [
            Estimate.of(total / 64, left.tolist(), [8] * 8, "same")
            for total, left in zip(totals, omitted, strict=True)
        ]
        interval = nested(estimates).interval
        covered += interval.low < 0 < interval.high
        samples = estimates[0].interval
        one_level += samples.low < 0 < samples.high
    assert 0.935 < covered / runs < 0.97
    # The interval of one training over samples says nothing of other trainings.
    assert one_level / runs < 0.88
