"""Limits on one line, judged on a result, and reported to continuous integration."""

from __future__ import annotations

import dataclasses
import math
import os
from xml.etree import ElementTree

import pytest

import invariscope as iv
from invariscope.checking import junit
from invariscope.checking.limits import Limit, needed, read_limits
from invariscope.checking.outcomes import judged, unmeasured
from invariscope.results.provenance import NONFINITE
from invariscope.results.result import Result

NAN = math.nan
COUNTED = ("name", "tests", "failures", "errors", "skipped", "time")
NO_SHARE = ("conv2", "anova has no such value there")


def row(layer, value, measure="normalized_variance", call=0, **more):
    interval = {"ci_low": value - 0.1, "ci_high": value + 0.1}
    return (
        {"measure": measure, "layer": layer, "call": call, "stratum": "all", "value": value} | interval | more
    )


RESULT = Result(
    rows=(
        row("conv1", 0.2),
        row("conv2", 0.4),
        row("conv2", 0.1, call=1),
        row("dead", NAN, note="no unit is left to average over"),
        row("conv1", 0.9, stratum="mean"),
        row("conv1", 0.5, "anova.share_transform"),
        row("conv2", 0.5, "anova.share_sample"),
    ),
    provenance={
        "skipped": [
            {"layer": "fc", "call": 0, "reason": "no batch axis"},
            {"layer": "fc2", "call": 1, "measure": "anova", "reason": "anova: too small"},
            {"layer": "lost", "call": 0, "reason": "all 9 samples have NaN", "kind": NONFINITE},
        ],
        "unused": ["idle"],
    },
)


def outcomes(*most, least=()):
    return judged(read_limits(most, least), RESULT)


@pytest.mark.parametrize(
    ("text", "pattern", "rows", "bound"),
    [
        ("conv*:normalized_variance:0.3", "conv*", "normalized_variance", 0.3),
        ("a.b:anova.share_transform:1e-3", "a.b", "anova.share_transform", 1e-3),
        (
            "x:EquivarianceDeviation(kind='channelwise').one_plus:2",
            "x",
            "equivariance_deviation.channelwise.one_plus",
            2,
        ),
        ("x:equivariance_deviation.latent.one_plus:2", "x", "equivariance_deviation.latent.one_plus", 2),
        ("x:equivariance_deviation:-0.5", "x", "equivariance_deviation.latent", -0.5),
        ("x : same_equivariance.direct : .5", "x", "same_equivariance.direct", 0.5),
        ("stem:0:normalized_variance:1", "stem:0", "normalized_variance", 1),
        ("a::b:*:goodfellow.global:1", "a::b:*", "goodfellow.global", 1),
        ("conv1:anova:normalized_variance:1", "conv1:anova", "normalized_variance", 1),
        (
            "a:b:EquivarianceDeviation(kind='channelwise').one_plus:2",
            "a:b",
            "equivariance_deviation.channelwise.one_plus",
            2,
        ),
    ],
)
def test_a_limit_says_which_layers_which_number_and_how_much(text, pattern, rows, bound):
    limit = Limit.read(text, upper=True)
    assert (limit.pattern, limit.row, limit.bound) == (pattern, rows, bound)
    key = text.rpartition(":")[0]
    assert Limit.of(key, bound, upper=True) == dataclasses.replace(limit, text=key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conv1:0.3", "write GLOB:measure:value, such as"),
        ("0.3", "write GLOB:measure:value, such as"),
        (":normalized_variance:0.3", "write GLOB:measure:value, such as"),
        ("conv1:normalized_variance:", "which is not a number"),
        ("conv1:normalized_variance:nan", "which is not a number"),
        ("conv1:normalised_variance:1", "Closest: 'normalized_variance'"),
        ("conv1:anova,prediction:1", "names 2 measures"),
        ("conv1:anova.share:1", "unknown output of anova 'anova.share'. Closest: 'anova.share_sample'"),
        ("conv1:anova:1", r"name one of them in the limit 'conv1:anova:1': .*'anova\.share_transform'"),
        ("output:consistency:95", r"of 95 holds for every model: .* between 0 and 1\. Write 0\.95 for 95 %"),
        (
            "output:prediction.flips:-0.1",
            r"of -0\.1 never holds: prediction\.flips is always between 0 and 1",
        ),
        ("conv1:normalized_variance:-1", r"normalized_variance is always at least 0\.$"),
        ("conv1:prediction.accuracy:1", "write 'output:prediction.accuracy:1'"),
        ("a:b:prediction.accuracy:1", "write 'output:prediction.accuracy:1'"),
        ("a:b:normalised_variance:1", "unknown measure 'normalised_variance'"),
        ("!conv1:normalized_variance:1", "excludes layers; name the layers"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        read_limits([text], [])


def test_a_lower_limit_outside_the_range_is_refused_too():
    with pytest.raises(ValueError, match="of 95 never holds"):
        read_limits([], ["output:consistency:95"])
    with pytest.raises(ValueError, match="of -1 holds for every model"):
        read_limits([], ["output:consistency:-1"])
    assert len(read_limits(["output:prediction.flips:0"], ["output:consistency:1"])) == 2


def test_a_lower_limit_above_the_upper_one_is_refused():
    with pytest.raises(ValueError, match=r"at least 0\.6 \(min\) and at most 0\.5 \(max\)"):
        read_limits(["output:consistency:0.5"], ["output:consistency:0.6"])
    assert len(read_limits(["output:consistency:0.5"], ["output:consistency:0.5"])) == 2


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("equivariance_deviation.channelwise", "EquivarianceDeviation(kind='channelwise')"),
        ("equivariance_deviation.output.null", "EquivarianceDeviation(kind='output').null"),
        ("stability.petrini2021.D", "Stability(preset='petrini2021').D"),
        (
            "EquivarianceDeviation(exclude_identity=True).channelwise",
            "EquivarianceDeviation(exclude_identity=True, kind='channelwise')",
        ),
    ],
)
def test_an_option_in_the_place_of_an_output_is_named_with_what_was_meant(named, meant):
    with pytest.raises(ValueError, match="is not an output of") as caught:
        Limit.read(f"output:{named}:1", upper=True)
    assert f'write "{meant}" instead' in str(caught.value)
    assert Limit.read(f"output:{meant}:1", upper=True).bound == 1


def test_nothing_to_check_is_refused():
    with pytest.raises(ValueError, match="give --max or --min"):
        read_limits([], [])


def test_the_value_decides_at_every_layer_and_call():
    found = outcomes("conv*:normalized_variance:0.2")
    assert [(o.name, o.status) for o in found] == [
        ("conv1", "holds"),
        ("conv2", "broken"),
        ("conv2 (call 1)", "holds"),
    ]
    assert found[1].message == "conv2: normalized_variance is 0.4, must be ≤ 0.2"


def test_lower_limits_hold_from_the_bound_on():
    found = outcomes(least=["conv*:normalized_variance:0.2"])
    assert [o.status for o in found] == ["holds", "holds", "broken"]


@pytest.mark.parametrize(
    "sides", [{"most": ["dead:normalized_variance:9"]}, {"least": ["dead:normalized_variance:0"]}]
)
def test_a_layer_without_a_value_keeps_no_limit(sides):
    (found,) = judged(read_limits(sides.get("most", []), sides.get("least", [])), RESULT)
    assert found.status == "no value"
    assert found.message.endswith("has no value (no unit is left to average over)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cnov1:normalized_variance:1", "unknown layer 'cnov1'. Closest: 'conv1'"),
        ("fc:normalized_variance:1", "no value for the layers 'fc' .fc: no batch axis"),
        ("idle:normalized_variance:1", "no value for the layers 'idle' .idle: the forward pass never ran it"),
        ("conv2:anova.share_transform:1", "no value for the layers 'conv2' .conv2: anova has no such value"),
        ("conv1:anova.F:1", "no single value at the layers 'conv1'. Values there: 'anova.share_transform'."),
    ],
)
def test_a_limit_that_speaks_of_nothing_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        outcomes(text)


def test_what_must_be_measured_is_asked_for_once():
    limits = read_limits(
        ["conv1:anova.F:1", "conv2:anova.share_transform:1"], ["output:prediction.accuracy:0"]
    )
    wanted = needed(limits)
    assert [measure.name for measure in wanted["measures"]] == ["anova", "prediction"]
    assert wanted["layers"] == ["conv1", "conv2"]
    assert needed(read_limits(["output:consistency:1"], []))["layers"] is None


def test_a_glob_is_measured_beside_every_layer_so_that_containers_are_read():
    assert needed(read_limits(["*:anova.F:1", "conv1:anova.F:1"], []))["layers"] == ["*", "conv1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[!l]*:normalized_variance:1", [("fc", "no batch axis"), ("idle", "the forward pass never ran it")]),
        ("[cf]*:anova.share_transform:1", [("fc", "no batch axis"), ("fc2 (call 1)", "too small"), NO_SHARE]),
        ("conv*:normalized_variance:1", []),
        ("*:prediction.flips:1", []),
    ],
)
def test_a_layer_that_a_glob_matches_but_that_cannot_be_measured_is_listed(text, said):
    found = unmeasured(read_limits([text], []), RESULT)
    assert [(one.name, one.reason) for one in found] == said


def test_a_layer_whose_responses_are_lost_breaks_its_limit_by_name_and_by_glob():
    for pattern in ("lost", "l*"):
        (found,) = outcomes(f"{pattern}:normalized_variance:1")
        assert (found.layer, found.status) == ("lost", "no value")
    assert not unmeasured(read_limits(["l*:normalized_variance:1"], []), RESULT)


def test_the_junit_file_counts_what_it_holds(tmp_path):
    limits = read_limits(["conv*:normalized_variance:0.2", "dead:normalized_variance:1"], [])
    found = [*judged(limits, RESULT), *unmeasured(read_limits(["fc*:normalized_variance:1"], []), RESULT)]
    file = tmp_path / "check.xml"
    junit.write_junit(file, found, model="net <&> \x1b[1mbold", seconds=2.0)
    suite = ElementTree.parse(file).getroot().find("testsuite")
    cases = suite.findall("testcase")
    assert {name: suite.get(name) for name in COUNTED} == {
        "name": "invariscope check",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "2.000",
    }
    assert len(cases) == 5
    assert [case.find("failure") is not None for case in cases] == [False, True, False, False, False]
    assert (
        cases[4].find("skipped").get("message") == "fc: normalized_variance was not measured (no batch axis)"
    )
    assert cases[1].find("failure").get("message") == "conv2: normalized_variance is 0.4, must be ≤ 0.2"
    assert cases[1].get("name") == "conv2 normalized_variance ≤ 0.2"
    assert cases[3].find("error").get("type") == "no value"
    assert cases[0].get("classname") == "net <&> \N{REPLACEMENT CHARACTER}[1mbold.normalized_variance"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "check.xml"
    file.write_text("old")

    def broken(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        junit.write_junit(file, outcomes("conv1:normalized_variance:1"), model="net", seconds=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["check.xml"]
    assert file.read_text() == "old"


def test_every_measure_can_be_limited():
    for name in iv.list_measures():
        assert Limit.read(f"output:{name}:1", upper=True).measure.name == name
