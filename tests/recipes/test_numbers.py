"""Quantities, verdicts and class-conditional results, against answers calculated by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from shelf import SIZES, Shelf

from invariscope.intervals import Interval, holm, jackknife
from invariscope.lab.recipes import read
from invariscope.lab.recipes.comparison import Comparison
from invariscope.lab.recipes.kinds.combined import combined
from invariscope.lab.recipes.quantities import QUANTITIES, Estimate, NoValueError, check, evaluate
from invariscope.lab.recipes.quantities.base import around
from invariscope.lab.recipes.recipe import Claim, Recipe
from invariscope.lab.recipes.text import Text
from invariscope.lab.recipes.verdicts import verdicts
from invariscope.results.result import Result

NV = "normalized_variance"


def result(layers: dict[str, float], *, shift: float = 0.0, units: int = 1, data: str = "same") -> Result:
    """Layers of equal interval width: leaving group g out adds 0.001·(g − 3.5)."""
    rows = [
        {
            "measure": NV, "layer": layer, "call": 0, "stratum": "all", "value": value + shift,
            "counted_units": units + number, "samples": 80, "elements": 4,
            "replicates": [value + shift + 0.001 * (g - 3.5) for g in range(8)], "group_sizes": SIZES,
        }
        for number, (layer, value) in enumerate(layers.items())
    ]  # fmt: skip
    return Result(rows=tuple(rows), provenance={"data": {"fingerprint": data}})


def found(shelf: Shelf, quantity: str, **arguments) -> Estimate:
    return evaluate(shelf, {"quantity": quantity, **arguments})


def test_overall_weighs_layers_by_their_units_and_layer_mean_does_not():
    shelf = Shelf(net=result({"a": 0.1, "b": 0.4}))
    assert found(shelf, "overall", cell="net").value == pytest.approx((0.1 + 2 * 0.4) / 3)
    mean = found(shelf, "layer_mean", cell="net")
    assert mean.value == pytest.approx(0.25)
    expected = jackknife(0.25, [0.25 + 0.001 * (g - 3.5) for g in range(8)], SIZES)
    assert (mean.interval.low, mean.interval.high) == pytest.approx((expected.low, expected.high))
    assert found(shelf, "layer_value", cell="net", layer="b").value == pytest.approx(0.4)


def test_a_paired_difference_is_narrower_than_one_of_other_samples():
    alike = Shelf(a=result({"x": 0.5}), b=result({"x": 0.3}))
    other = Shelf(a=result({"x": 0.5}), b=result({"x": 0.3}, data="other"))
    paired, apart = (
        found(shelf, "overall", cell="a").minus(found(shelf, "overall", cell="b")) for shelf in (alike, other)
    )
    assert paired.value == apart.value == pytest.approx(0.2)
    # The same samples move both alike, so nothing is left of the difference's error.
    assert paired.interval.error == pytest.approx(0, abs=1e-12)
    one = found(alike, "overall", cell="a").interval.error
    assert apart.interval.error == pytest.approx(math.sqrt(2) * one)


def test_a_mean_may_be_over_the_layers_that_match():
    shelf = Shelf(a=result({"conv1": 1.0, "conv2": 3.0, "fc": 8.0}), b=result({"conv1": 1.0, "conv2": 0.6}))
    assert found(shelf, "layer_mean", cell="a").value == pytest.approx(4)
    assert found(shelf, "layer_mean", cell="a", layers=["conv?"]).value == pytest.approx(2)
    assert found(shelf, "layer_mean", cell="a", layers=["conv1", "fc"]).value == pytest.approx(4.5)
    with pytest.raises(NoValueError, match=r"no layer of b that matches \['fc'\]"):
        found(shelf, "layer_mean", cell="b", layers=["fc"])


def test_a_ratio_may_be_of_means_over_the_layers_that_match():
    shelf = Shelf(a=result({"conv1": 1.0, "conv2": 3.0, "fc": 8.0}), b=result({"conv1": 1.0, "conv2": 0.6}))
    ratio = found(shelf, "layers_ratio", cell="a", to="b", layers=["conv?"], measure="normalized_variance")
    assert ratio.value == pytest.approx(2 / 0.8)
    moves = 0.001 * (np.arange(8) - 3.5)  # of every layer, in both cells: the ratio is paired
    logs = jackknife(math.log(2.5), np.log((2 + moves) / (0.8 + moves)).tolist(), SIZES)
    assert ratio.interval.low == pytest.approx(math.exp(logs.low))


def test_depth_contrast_sets_the_first_third_against_the_rest():
    shelf = Shelf(net=result(dict(zip("abcdef", (1.0, 2.0, 4.0, 5.0, 6.0, 7.0), strict=True))))
    assert found(shelf, "depth_contrast", cell="net").value == pytest.approx(1.5 - 5.5)


def test_spread_contrast_is_positive_where_networks_part_at_the_end():
    flat, rising = dict.fromkeys("abcdef", 1.0), dict(zip("abcdef", (1, 1, 1, 1, 2, 3), strict=True))
    shelf = Shelf(one=result(flat), two=result(rising), three=result({k: v + 1 for k, v in flat.items()}))
    assert found(shelf, "spread_contrast", among=["one", "two"]).value > 0.5
    # Two that keep their distance differ everywhere alike.
    assert found(shelf, "spread_contrast", among=["one", "three"]).value == pytest.approx(0)
    with pytest.raises(NoValueError, match="fewer than two"):
        found(shelf, "spread_contrast", among=["one"])


def test_own_class_contrast_reads_the_diagonal():
    classes = ("0", "1", "2")
    maps = {
        (NV, "out", name, 0): np.where(np.arange(3) == i, 0.2 + 0.1 * i, 1.0)
        for i, name in enumerate(classes)
    }
    shelf = Shelf(net=Result(rows=(), arrays=maps, provenance={"data": {"classes": list(classes)}}))
    estimate = found(shelf, "own_class_contrast", cell="net", layer="out")
    assert estimate.value == pytest.approx(-0.7)
    # t with 2 degrees of freedom, 4.303, times 0.1/√3.
    assert estimate.interval.high == pytest.approx(-0.7 + 4.302653 * 0.1 / math.sqrt(3), abs=1e-5)
    assert estimate.over == "classes"
    unordered = Result(
        rows=(), arrays=maps, provenance={"data": {"classes": list(classes), "classes_ordered": False}}
    )
    with pytest.raises(NoValueError, match="does not state the order of its classes"):
        found(Shelf(net=unordered), "own_class_contrast", cell="net", layer="out")


def test_the_spread_over_networks_has_the_interval_of_a_standard_deviation():
    values = (0.9, 1.0, 1.1)
    shelf = Shelf(**{f"r{i}": result({"x": v}) for i, v in enumerate(values)})
    spread = found(shelf, "relative_spread", among=["r*"])
    assert spread.value == pytest.approx(0.1)
    # χ² with 2 degrees of freedom: 0.05064 and 7.37776.
    assert spread.interval.low == pytest.approx(0.1 * math.sqrt(2 / 7.37776), rel=1e-4)
    assert spread.interval.high == pytest.approx(0.1 * math.sqrt(2 / 0.0506356), rel=1e-4)
    assert found(shelf, "mean_over", among=["r*"]).value == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(QUANTITIES))
def test_a_missing_cell_is_neither_a_value_nor_a_crash(name):
    arguments = {
        "cell": "gone",
        "to": "gone",
        "among": ["gone"],
        "beside": ["gone"],
        "layer": "x",
        "measure": NV,
        "x": 0.0,
    }
    arguments |= {"of": NV, "against": NV}
    taken = QUANTITIES[name].__code__.co_varnames
    with pytest.raises(NoValueError):
        found(Shelf(), name, **{key: value for key, value in arguments.items() if key in taken})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "the key 'quantity'"),
        ({"quantity": "overal"}, "Closest: 'overall'"),
        ({"quantity": "overall"}, "overall needs cell"),
        ({"quantity": "overall", "cell": "a", "mesure": "b"}, "Closest: 'measure'"),
    ],
)
def test_a_wrong_quantity_is_refused_with_what_is_right(spec, said):
    with pytest.raises(ValueError, match=said):
        check(spec)


@pytest.mark.parametrize(
    ("low", "high", "holds", "verdict"),
    [
        (-2, -1, "< 0", "confirmed"),
        (1, 2, "< 0", "refuted"),
        (-1, 1, "< 0", "undecided"),
        (1, 2, "> 0.5", "confirmed"),
        (0.1, 0.4, "> 0.5", "refuted"),
        (0.4, 0.6, "> 0.5", "undecided"),
        (1, 2, "not 0 ± 0.5", "confirmed"),
        (-2, -1, "not 0 ± 0.5", "confirmed"),
        (0.4, 2, "not 0 ± 0.5", "undecided"),
        (-1, 1, "not 0 ± 0.5", "undecided"),
        (-0.4, 0.4, "not 0 ± 0.5", "refuted"),
        (-2, 1, "< 1e-3", "undecided"),
        (math.nan, 1, "< 2", "undecided"),
        (0.45, 0.55, "0.5 ± 0.1", "confirmed"),
        (0.55, 0.65, "0.5 ± 0.1", "undecided"),
        (0.65, 0.7, "0.5 ± 0.1", "refuted"),
        (-1.2, -1.1, "-1 ± 0.05", "refuted"),
    ],
)
def test_a_verdict_follows_from_the_whole_interval(low, high, holds, verdict):
    assert Comparison.read(holds).decided(Interval(low, high)) == verdict


def claim_over(values: list[float | None]) -> tuple[str, dict[str, int]]:
    """The verdict on "the value is below 0.5" over networks with such values; None: not measured."""
    shelf = Shelf(**{f"n{i}": result({"x": v}) for i, v in enumerate(values) if v is not None})
    claim = Claim(
        text="low",
        axes={"i": list(range(len(values)))},
        value={"quantity": "overall", "cell": "n{i}"},
        holds="< 0.5",
    )
    recipe = Recipe(title="", source="", cells=[], claims=[claim], text=Text("r.toml", ""))
    (verdict,) = verdicts(recipe, shelf)
    return verdict.shown, dict(Counter(case.verdict for case in verdict.cases))


def test_a_claim_is_confirmed_by_all_cases_and_mixed_where_they_disagree():
    assert claim_over([0.1]) == ("confirmed", {"confirmed": 1})
    assert claim_over([0.1, 0.2]) == ("confirmed: 2 of 2 for", {"confirmed": 2})
    assert claim_over([0.8, 0.9]) == ("refuted: 2 of 2 against", {"refuted": 2})
    assert claim_over([0.1, 0.9]) == ("mixed: 1 of 2 for, 1 against", {"confirmed": 1, "refuted": 1})
    assert claim_over([0.1, 0.5]) == ("undecided: 1 of 2 for, 0 against", {"confirmed": 1, "undecided": 1})
    # None for and more than half against refutes; one of two is not more than half.
    assert claim_over([0.5, 0.8, 0.9])[0] == "refuted: 0 of 3 for, 2 against"
    assert claim_over([0.5, 0.9])[0] == "undecided: 0 of 2 for, 1 against"
    # With fewer than half of the cases tested there is no verdict.
    assert claim_over([0.1, None]) == ("confirmed", {"confirmed": 1, "not tested": 1})
    assert claim_over([0.1, None, None])[0] == "not tested"


@pytest.mark.parametrize(
    "holds", ["< 0.6", "> 0.4", "not 0.5 ± 0.05", "not 0 ± 0.4", "0.5 ± 0.1", "0.9 ± 0.1", "0.6 ± 0.1"]
)
@pytest.mark.parametrize("error", [0.001, 0.02, 0.2])
def test_a_p_value_decides_as_the_interval_does(holds, error):
    comparison, interval = Comparison.read(holds), around(0.5, error, 7)
    assert (comparison.p(interval) < 0.05) == (comparison.decided(interval) != "undecided")


def test_cases_of_a_claim_are_one_family_and_those_that_stay_against_are_counted():
    shelf = Shelf(**{f"n{i}": result({"x": v}) for i, v in enumerate([0.1, 0.516, 0.9, 0.501])})
    claim = Claim(
        text="low", axes={"i": [0, 1, 2, 3]}, value={"quantity": "overall", "cell": "n{i}"}, holds="< 0.5"
    )
    recipe = Recipe(title="", source="", cells=[], claims=[claim], text=Text("r.toml", ""))
    (verdict,) = verdicts(recipe, shelf)
    plain = [case.p for case in verdict.cases]
    assert [case.verdict for case in verdict.cases] == ["confirmed", "refuted", "refuted", "undecided"]
    assert [case.p_holm for case in verdict.cases] == pytest.approx(holm(plain).tolist())
    assert plain[1] < 0.05 < verdict.cases[1].p_holm
    assert (verdict.firmly("refuted"), verdict.firmly("confirmed")) == (1, 1)
    assert verdict.shown == "mixed: 1 of 4 for, 1 against"


def test_classes_measured_apart_become_strata_and_their_mean():
    def part(value: float, unit: float) -> Result:
        made = result({"x": value}, units=2)
        array = np.array([value - unit, np.nan if unit else value])
        return Result(rows=made.rows, arrays={(NV, "x", "all", 0): array}, provenance=made.provenance)

    whole, one, two = part(0.5, 0.0), part(0.8, 0.1), part(0.6, 0.0)
    both = combined(whole, {"1": one, "2": two})
    assert [row["stratum"] for row in both.rows] == ["all", "1", "2", "mean"]
    # Unit by unit over the classes where it is finite: (0.7 + 0.6)/2 and 0.6 alone; then over the units.
    assert both.maps[NV, "x", "mean"].tolist() == pytest.approx([0.65, 0.6])
    mean = both.rows[-1]
    assert mean["value"] == pytest.approx(0.625)
    assert mean["group_sizes"] == [20] * 8
    assert mean["replicates"] == pytest.approx([0.625 + 0.001 * (g - 3.5) for g in range(8)])
    assert mean["ci_low"] < 0.625 < mean["ci_high"]
    assert both.overall(stratum="mean") == pytest.approx(0.625)


def test_the_published_numbers_of_the_recipe_are_those_of_the_paper():
    tables = {table.title: table for table in read("quiroga2019").tables}
    published = tables["Normalized variance of whole networks"].published
    rows = [published[data][net] for data in ("mnist", "cifar10") for net in sorted(published[data])]
    # all_conv, resnet, simple_conv, vgg16; the paper's order within a row: rotated / unrotated.
    flat = [row[trained] for row in rows for trained in ("rotated", "plain")]
    assert flat == [
        *(0.479, 0.696, 0.600, 0.811, 0.686, 0.732, 0.676, 0.763),
        *(0.471, 0.768, 0.356, 0.680, 0.544, 0.831, 0.498, 0.663),
    ]
