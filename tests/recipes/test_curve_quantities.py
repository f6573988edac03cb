"""Numbers read off curves, against answers worked out by hand."""

from __future__ import annotations

import math

import pytest
from shelf import SIZES, Shelf

from invariscope.intervals import jackknife
from invariscope.lab.recipes.quantities import NoValueError, evaluate
from invariscope.results.result import Result

SHARES = [0.9, 1.1, 1.05, 0.95, 1.0, 1.02, 0.98, 1.0]


def point(x: float, value: float, omitted: list[float] | None = None, error: float = 0.1) -> dict:
    known = {
        "measure": "stability_curve.R", "layer": "output", "stratum": "all", "x": x, "value": value,
        "ci_low": (1 - error) * value, "ci_high": (1 + error) * value,
    }  # fmt: skip
    return known | ({"replicates": omitted, "group_sizes": SIZES} if omitted else {})


def curves(trained: list[dict], start: list[dict]) -> Shelf:
    """The curves of two networks, measured on the same samples."""
    about = {"data": {"fingerprint": "same"}}
    named = {"trained": trained, "start": start}
    return Shelf({name: Result((), tuple(rows), provenance=about) for name, rows in named.items()})


def ratio_at(x: float, found: Shelf):
    return evaluate(found, {"quantity": "curve_ratio", "cell": "trained", "to": "start", "x": x})


def test_a_measured_radius_gives_the_ratio_of_the_points_and_one_between_follows_the_power_law():
    # R of the trained network is 0.2·r, at the start it is 1 everywhere.
    found = curves([point(r, 0.2 * r) for r in (1.0, 4.0, 16.0)], [point(r, 1.0) for r in (1.0, 4.0, 16.0)])
    assert ratio_at(1.0, found).value == pytest.approx(0.2)
    assert ratio_at(4.0, found).value == pytest.approx(0.8)
    assert ratio_at(16.0, found).value == pytest.approx(3.2)
    assert ratio_at(8.0, found).value == pytest.approx(1.6)


def test_a_quarter_of_the_way_takes_a_quarter_of_the_logarithm():
    trained = [point(1.0, 1.0), point(16.0, 81.0)]
    # log 2 / log 16 = 1/4, and 81 to the power of 1/4 is 3.
    found = curves(trained, [point(1.0, 1.0), point(16.0, 1.0)])
    assert ratio_at(2.0, found).value == pytest.approx(3.0)


def test_what_the_samples_do_to_both_curves_alike_leaves_no_interval():
    moved = [
        [point(x, value, [value * share for share in SHARES]) for x, value in ((1.0, a), (4.0, 4 * a))]
        for a in (0.3, 0.6)
    ]
    found = ratio_at(2.0, curves(*moved))
    assert (found.interval.low, found.value, found.interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_paired_interval_is_the_jackknife_of_the_interpolated_logarithms():
    near, far = (
        [value * share for share in shares] for value, shares in ((0.2, SHARES), (0.8, SHARES[::-1]))
    )
    trained = [point(1.0, 0.2, near), point(4.0, 0.8, far)]
    found = ratio_at(2.0, curves(trained, [point(r, 1.0, [1.0] * 8) for r in (1.0, 4.0)]))
    omitted = [math.log(a * b) / 2 for a, b in zip(near, far, strict=True)]
    expected = jackknife(math.log(0.4), omitted, SIZES)
    bounds = math.exp(expected.low), math.exp(expected.high)
    assert found.value == pytest.approx(0.4)
    assert (found.interval.low, found.interval.high) == pytest.approx(bounds)


def test_without_jackknife_values_the_relative_errors_of_both_curves_add_up():
    found = ratio_at(2.0, curves([point(1.0, 2.0), point(4.0, 3.0)], [point(1.0, 1.0), point(4.0, 1.0)]))
    # Each curve has 10 % on either side, so their ratio has √2 · 10 % on the scale of logarithms.
    assert math.log(found.interval.high / found.interval.low) / 2 == pytest.approx(0.1 * math.sqrt(2))
    alone = ratio_at(
        2.0, curves([point(1.0, 2.0), point(4.0, 3.0)], [point(r, 1.0, error=0) for r in (1.0, 4.0)])
    )
    assert math.log(alone.interval.high / alone.interval.low) / 2 == pytest.approx(0.1)


@pytest.mark.parametrize("x", [0.5, 20.0])
def test_nothing_is_read_off_beyond_what_was_measured(x):
    found = curves([point(1.0, 0.2), point(16.0, 0.2)], [point(1.0, 1.0), point(16.0, 1.0)])
    with pytest.raises(
        NoValueError, match=r"stability_curve.R of output in trained is not known at .*between 1"
    ):
        ratio_at(x, found)


def test_a_single_point_makes_no_curve():
    with pytest.raises(NoValueError, match="fewer than two positive points"):
        ratio_at(1.0, curves([point(1.0, 0.2)], [point(1.0, 1.0)]))
