"""Ratios and relations over networks, against planted answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shelf import SIZES, Shelf

from invariscope.intervals import jackknife
from invariscope.lab.recipes.quantities import Estimate, NotFinishedError, NoValueError, evaluate
from invariscope.lab.recipes.quantities.relations import quotient
from invariscope.results.result import Result


def row(measure: str, value: float, *, layer: str = "fc", omitted: list[float] | None = None) -> dict:
    known = {"measure": measure, "layer": layer, "call": 0, "stratum": "all", "value": value}
    return known | {"replicates": omitted or [value] * 8, "group_sizes": SIZES}


def networks(r: np.ndarray, error: np.ndarray, families: int) -> Shelf:
    """`families` families of networks of equal size, `f0/0`, `f0/1` and so on; R stands in the last layer."""
    each = len(r) // families
    return Shelf(
        {
            f"f{i // each}/{i % each}": Result(
                rows=(
                    row("R", 99.0, layer="conv"),
                    row("R", float(r[i])),
                    row("error", float(error[i]), layer="output"),
                ),
                provenance={"data": {"fingerprint": "same"}},
            )
            for i in range(len(r))
        }
    )


def related(shelf: Shelf, quantity: str, among: list[str]) -> Estimate:
    return evaluate(shelf, {"quantity": quantity, "among": among, "of": "error", "against": "R"})


def test_a_power_law_is_found_exactly():
    r = np.array([0.01, 0.03, 0.2, 1.0, 4.0])
    shelf = networks(r, 0.2 * np.sqrt(r), families=5)
    slope, correlation = (related(shelf, name, ["*"]) for name in ("log_slope", "log_correlation"))
    falling = networks(r, 0.2 / np.sqrt(r), families=5)
    assert related(falling, "log_correlation", ["*"]).value == pytest.approx(-1.0)
    assert related(falling, "log_explained", ["*"]).value == pytest.approx(1.0)
    assert slope.value == pytest.approx(0.5)
    assert correlation.value == pytest.approx(1.0)
    assert (slope.interval.low, slope.interval.high) == pytest.approx((0.5, 0.5))
    assert slope.over == correlation.over == "networks"


def test_networks_that_one_pattern_names_are_left_out_together():
    rng = np.random.default_rng(0)
    x = rng.normal(size=12)
    y = 0.5 * x + np.repeat(rng.normal(size=4), 3)
    shelf = networks(np.exp(x), np.exp(y), families=4)
    whole = np.polyfit(x, y, 1)[0]
    omitted = [np.polyfit(np.delete(x, s), np.delete(y, s), 1)[0] for s in np.arange(12).reshape(4, 3)]
    expected = jackknife(whole, omitted, [3] * 4)
    found = related(shelf, "log_slope", [f"f{i}/*" for i in range(4)])
    assert found.value == pytest.approx(whole)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert found.over == "families of networks"
    assert related(shelf, "log_slope", ["*"]).interval.error != pytest.approx(found.interval.error)


def test_the_error_over_shared_samples_is_added_to_that_over_families():
    x, steps = np.array([0.0, 1.0, 2.0, 3.0]), 0.02 * (np.arange(8) - 3.5)
    y = np.array([0.0, 0.6, 0.9, 1.6])
    # Leaving group g out tilts the line: log(error) changes by step · x in all networks at once.
    shelf = Shelf(
        {
            f"net{i}": Result(
                rows=(
                    row("R", math.exp(x[i])),
                    row("error", math.exp(y[i]), omitted=np.exp(y[i] + steps * x[i]).tolist()),
                ),
                provenance={"data": {"fingerprint": "same"}},
            )
            for i in range(4)
        }
    )
    slope = np.polyfit(x, y, 1)[0]
    over_families = jackknife(
        slope, [np.polyfit(np.delete(x, i), np.delete(y, i), 1)[0] for i in range(4)], [1] * 4
    )
    over_samples = jackknife(slope, (slope + steps).tolist(), SIZES)
    found = related(shelf, "log_slope", ["*"])
    assert found.value == pytest.approx(slope)
    assert found.interval.error == pytest.approx(math.hypot(over_families.error, over_samples.error))
    assert found.interval.freedom == pytest.approx(
        found.interval.error**4 / (over_families.error**4 / 3 + over_samples.error**4 / 7)
    )
    assert found.covers == "samples within networks"
    # On samples of their own, what these do is part of the spread over the networks.
    for number, result in enumerate(shelf.values()):
        result.provenance["data"]["fingerprint"] = str(number)
    assert related(shelf, "log_slope", ["*"]).interval.error == pytest.approx(over_families.error)


def test_the_interval_of_a_slope_covers_the_true_one():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        x = rng.normal(size=24)
        y = 0.5 * x + np.repeat(rng.normal(scale=0.3, size=8), 3) + rng.normal(scale=0.2, size=24)
        shelf = networks(np.exp(x), np.exp(y), families=8)
        interval = related(shelf, "log_slope", [f"f{i}/*" for i in range(8)]).interval
        covered += interval.low < 0.5 < interval.high
    assert 0.92 < covered / 400 < 0.99


def test_correlations_over_the_same_networks_are_compared_in_pairs():
    rng = np.random.default_rng(2)
    x = rng.normal(size=12)
    shelf = networks(np.exp(x), np.exp(x + 0.1 * rng.normal(size=12)), families=6)
    one = related(shelf, "log_correlation", ["*"])
    assert one.interval.high <= 1.0
    difference = one.minus(one)
    assert (difference.value, difference.interval.error) == (0.0, 0.0)
    assert difference.over == "networks"


def test_too_few_networks_or_none_of_positive_value_give_no_number():
    few = networks(np.ones(3), np.ones(3), families=3)
    with pytest.raises(NoValueError, match="got 3"):
        related(few, "log_slope", ["*"])
    with pytest.raises(NoValueError, match=r"f2/0 is not positive"):
        related(networks(np.ones(4), np.array([1.0, 1.0, 0.0, 1.0]), families=4), "log_slope", ["*"])


def test_a_ratio_is_paired_over_the_same_samples():
    shares = [0.97, 1.01, 1.02, 0.99, 1.0, 1.03, 0.98, 1.0]
    start, trained = (
        Result(
            rows=(row("R", value, omitted=[value * share for share in shares]),),
            provenance={"data": {"fingerprint": "same"}},
        )
        for value in (0.8, 0.2)
    )
    shelf = Shelf({"start": start, "trained": trained})
    found = evaluate(shelf, {"quantity": "ratio", "cell": "trained", "to": "start", "measure": "R"})
    assert found.value == pytest.approx(0.25)
    # What the samples do to both alike leaves their ratio as it is.
    assert (found.interval.low, found.interval.high) == pytest.approx((0.25, 0.25))
    alone = evaluate(shelf, {"quantity": "last_value", "cell": "start", "measure": "R"})
    assert alone.value == 0.8
    assert alone.interval.error > 0


def test_a_ratio_of_independent_numbers_adds_their_relative_errors():
    above, below = (
        Estimate.of(value, [value * (1 + 0.01 * (g - 3.5)) for g in range(8)], SIZES, name)
        for value, name in ((3.0, "a"), (2.0, "b"))
    )
    found = quotient(above, below)
    assert found.value == pytest.approx(1.5)
    reach = math.log(found.interval.high / found.interval.low) / 2
    one = jackknife(0.0, [math.log(1 + 0.01 * (g - 3.5)) for g in range(8)], SIZES)
    assert reach == pytest.approx(math.sqrt(2) * (one.high - one.low) / 2)
    with pytest.raises(NoValueError, match="positive"):
        quotient(above, Estimate(0.0))


def curve(bump: float) -> Shelf:
    """G/r² of 2e-4 up to a radius of 2, then 6e-4."""
    points = tuple(
        {"measure": "stability_curve.G_over_r2", "layer": "output", "stratum": "all", "x": x, "value": value,
         "ci_low": 0.9 * value, "ci_high": 1.1 * value}
        for x, value in ((0.5, 2e-4), (1.0, 2e-4), (2.0, 2e-4), (8.0, 6e-4))
    )  # fmt: skip
    return Shelf(
        {"net": Result(rows=(row("stability_curve.bump_noise", bump, layer="output"),), curve_rows=points)}
    )


def test_the_departure_is_read_off_where_predictions_flip():
    spec = {"quantity": "departure", "cell": "net"}
    assert evaluate(curve(7.0), spec).value == pytest.approx(3.0)
    linear = evaluate(curve(1.5), spec)
    assert linear.value == pytest.approx(1.0)
    assert linear.interval.low < 1 < linear.interval.high
    with pytest.raises(NoValueError, match="no measured radius flips half"):
        evaluate(curve(math.nan), spec)
    with pytest.raises(ValueError, match="unknown way 'nois'"):
        evaluate(curve(7.0), {**spec, "way": "nois"})


def test_a_ratio_may_be_that_of_two_layers_of_one_network():
    rows = (
        row("D", 0.5, layer="first", omitted=[0.5 * (1 + 0.01 * g) for g in range(8)]),
        row("D", 0.1, layer="last", omitted=[0.1 * (1 + 0.01 * g) for g in range(8)]),
    )
    shelf = Shelf({"net": Result(rows=rows, provenance={"data": {"fingerprint": "same"}})})
    spec = {"quantity": "ratio", "cell": "net", "to": "net", "measure": "D", "layer": "last"}
    found = evaluate(shelf, {**spec, "to_layer": "first"})
    assert (found.interval.low, found.value, found.interval.high) == pytest.approx((0.2, 0.2, 0.2))
    assert evaluate(shelf, spec).value == pytest.approx(1.0)


class Unfinished(Shelf):
    """A shelf on which some results are planned but not finished."""

    def __init__(self, whole: Shelf, unfinished: list[str]) -> None:
        super().__init__(whole)
        self.unfinished = unfinished

    def result(self, name: str) -> Result:
        if name in self.unfinished:
            raise NotFinishedError(f"{name} is not finished")
        return super().result(name)


def test_a_relation_over_enough_families_leaves_out_unfinished_networks_and_says_so():
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=12), rng.normal(size=12)
    whole = networks(np.exp(x), np.exp(0.5 * x + noise), families=6)
    among = [f"f{k}/*" for k in range(6)]
    spec = {"quantity": "log_slope", "among": among, "of": "error", "against": "R", "families": 5}
    some = Unfinished(whole, ["f2/0", "f2/1", "f4/1"])  # one family is missing, one has one network of two
    kept = [i for i in range(12) if i not in (4, 5, 9)]
    found = evaluate(some, spec)
    assert found.value == pytest.approx(np.polyfit(x[kept], (0.5 * x + noise)[kept], 1)[0])
    assert found.over == "5 of 6 families of networks (9 of 12 networks)"
    assert len(found.omitted) == 5
    assert evaluate(whole, spec).over == "families of networks"
    with pytest.raises(NotFinishedError, match="5 of 6 families of networks have a finished one; 6 are"):
        evaluate(some, spec | {"families": 6})
    with pytest.raises(NotFinishedError, match="f2/0 is not finished"):
        evaluate(some, {name: value for name, value in spec.items() if name != "families"})
