"""Slopes along the depth and ratios over draws, of planted laws; and the simulation's own cell."""

from __future__ import annotations

import math

import pytest
from shelf import SIZES, Shelf

from invariscope.intervals import jackknife
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.constant_filters import ConstantFilters
from invariscope.lab.recipes.quantities import NoValueError, evaluate
from invariscope.results import storage
from invariscope.results.result import Result


def result(values, slope: float = 0.0) -> Result:
    """Layer k has that value; leaving group g out multiplies it by exp(slope · (g − 3.5) · log k)."""
    rows = [
        {
            "measure": "stability.D", "layer": f"relu{k}", "call": 0, "stratum": "all", "value": value,
            "replicates": [value * math.exp(slope * (g - 3.5) * math.log(k)) for g in range(8)],
            "group_sizes": SIZES,
        }
        for k, value in enumerate(values, start=1)
    ]  # fmt: skip
    other = [{**rows[0], "layer": "output"}]
    return Result(rows=(*rows, *other), provenance={"data": {"fingerprint": "same"}})


def slope_of(values, **options):
    spec = {"quantity": "depth_slope", "cell": "net", "measure": "stability.D", "layers": ["relu*"]}
    return evaluate(Shelf(net=result(values, slope=options.pop("slope", 0.0))), spec | options)


def test_the_exponent_of_a_power_law_comes_back_with_the_jackknifes_interval():
    found = slope_of([3 * k**-0.7 for k in range(1, 9)], law="power", slope=0.01)
    assert found.value == pytest.approx(-0.7)
    expected = jackknife(-0.7, [-0.7 + 0.01 * (g - 3.5) for g in range(8)], SIZES)
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))


def test_the_slope_of_an_exponential_is_in_doublings_a_layer():
    assert slope_of([5 * 2.0 ** (-1.5 * k) for k in range(6)]).value == pytest.approx(-1.5)


def test_only_the_layers_between_first_and_last_count():
    values = [100.0, *(2.0**k for k in range(5)), 0.001]
    assert slope_of(values, first=2, last=6).value == pytest.approx(1.0)
    assert slope_of(values).value != pytest.approx(1.0)
    with pytest.raises(NoValueError, match="needs three layers; net has 2"):
        slope_of(values, first=6)
    with pytest.raises(NoValueError, match="no logarithm"):
        slope_of([1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="Closest: 'power'"):
        slope_of(values, law="powers")


def drawn(quantity: str, **options):
    """Draws that multiply the first two layers by 1 and 2, the last two by 4 and 8."""
    plain = result([1.0, 1.0, 1.0, 1.0])
    shelf = Shelf(plain=plain, a=result([1, 1, 4, 4]), b=result([2, 2, 8, 8]))
    spec = {"quantity": quantity, "among": ["*"], "to": "plain", "measure": "stability.D"}
    return evaluate(shelf, spec | options)


def test_a_mean_ratio_is_geometric_with_an_interval_over_the_draws():
    found = drawn("mean_ratio", layer="relu3")
    assert found.value == pytest.approx(math.sqrt(4 * 8))
    # t with 1 degree of freedom, 12.706, times half the difference of the logarithms.
    reach = 12.7062 * math.log(2) / 2
    assert found.interval.low == pytest.approx(found.value * math.exp(-reach), rel=1e-4)
    assert found.interval.high == pytest.approx(found.value * math.exp(reach), rel=1e-4)
    assert found.over == "draws"


def test_a_late_ratio_sets_the_last_layers_against_the_first():
    found = drawn("late_ratio", layers=["relu*"])
    assert found.value == pytest.approx(4.0)
    assert (found.interval.low, found.interval.high) == pytest.approx((4.0, 4.0))  # both draws agree
    assert drawn("late_ratio", layers=["relu*"], share=0.25).value == pytest.approx(4 ** (2 / 3))


def test_the_simulation_gives_the_theorys_exponents_where_they_are_reached(tmp_path):
    cell = ConstantFilters(layers=6, size=1024, dimensions=1, filter_size=2, stride=2, samples=512)
    cell.check()
    cell.run(CellContext(tmp_path, tmp_path))
    shelf = Shelf(sim=storage.load(tmp_path / "result"))
    spec = {"quantity": "depth_slope", "cell": "sim", "layers": ["relu*"]}
    moved = evaluate(shelf, spec | {"measure": "stability.D"})
    assert moved.interval.low < -1 < moved.interval.high
    assert moved.interval.high - moved.interval.low < 0.4
    noisy = evaluate(shelf, spec | {"measure": "stability.G", "first": 3})
    assert 0.7 < noisy.value < 1.05


def test_a_simulation_whose_last_layer_would_be_empty_is_refused():
    with pytest.raises(ValueError, match=r"multiple of .*; got size=48"):
        ConstantFilters(layers=5, size=48, filter_size=2, stride=2).check()
    with pytest.raises(ValueError, match="odd filter_size"):
        ConstantFilters(layers=5, size=48, filter_size=4).check()
