"""`iv.assert_limits` on networks whose flips, consistency and accuracy are counted by hand."""

from __future__ import annotations

import pickle
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.checking.session import Session, using
from invariscope.engine.extras.cautions import INSENSITIVE, UNMOVED

pytestmark = pytest.mark.usefixtures("seeded")

TURNS = iv.QuarterTurns()


class Brighter(nn.Module):
    """Class 0 if the upper row of an image is about as bright as the lower one, or brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.sum((1, 3))) + torch.tensor([0.1, 0.0])


def images(corners: int = 16, count: int = 64) -> Tensor:
    """Images of 2 × 2 pixels: some with a bright corner, the others all grey.

    A bright corner is in the lower row after two of three turns: 2 of 3 predictions flip, and 2 of 6 pairs of
    elements agree. Grey images are of class 0 throughout.
    """
    found = torch.full((count, 1, 2, 2), 0.5)
    found[:corners] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    return found + 1e-3 * torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(0))


FLIPS, CONSISTENCY, ACCURACY = 1 / 6, 5 / 6, 7 / 8  # of 64 images of class 0, 16 with a bright corner


def checked(data=None, model=None, **options):
    return iv.assert_limits(model or Brighter(), images() if data is None else data, TURNS, **options)


def broken(*arguments, **options):
    with pytest.raises(iv.LimitError) as caught:
        checked(*arguments, **options)
    return caught.value


def test_limits_hold_up_to_the_values_counted_by_hand():
    labelled = (images(), torch.zeros(64, dtype=torch.long))
    verdict = checked(
        labelled,
        min={"output:consistency": CONSISTENCY - 1e-9, "output:prediction.accuracy": ACCURACY},
        max={"output:prediction.flips": FLIPS + 1e-9},
    )
    values = {outcome.limit.row: outcome.value for outcome in verdict.outcomes}
    assert values == pytest.approx(
        {"prediction.flips": FLIPS, "consistency": CONSISTENCY, "prediction.accuracy": ACCURACY}
    )
    assert verdict.broken == ()
    assert verdict.summary.startswith("Brighter limits: 3 of 3 limits hold")
    assert set(verdict.result.table["measure"]) >= set(values)


@pytest.mark.parametrize(
    "limits",
    [
        {"max": {"output:prediction.flips": FLIPS - 1e-6}},
        {"min": {"output:consistency": CONSISTENCY + 1e-6}},
        {"min": {"output:prediction.accuracy": ACCURACY + 1e-6}, "labels": torch.zeros(64, dtype=torch.long)},
    ],
)
def test_limits_break_right_beyond_them(limits):
    error = broken(**limits)
    assert isinstance(error, AssertionError)
    assert len(error.verdict.broken) == 1


def test_the_message_names_every_broken_limit_with_what_it_comes_from():
    error = broken(
        min={"output:consistency": 0.95}, max={"output:prediction.flips": 0.02, "rows:normalized_variance": 9}
    )
    lines = str(error).splitlines()
    assert lines[0] == "output: prediction.flips is 0.166667, must be ≤ 0.02"
    (flips, consistency) = [line for line in lines if line.startswith("  broken ")]
    low, high = (getattr(error.verdict.outcomes[0], end) for end in ("low", "high"))
    assert low < FLIPS < high
    assert flips.endswith(f"must be ≤ 0.02 (95 % interval {low:.4g} to {high:.4g}, 64 samples)")
    assert "output: consistency is 0.833333, must be ≥ 0.95 (95 %" in consistency
    assert "  model        Brighter under quarter_turns; 64 samples" in lines
    assert "  output       the model's prediction, what Brighter returns; its class is the" in str(error)
    assert "  holds        1 of 3 limits" in lines
    assert "  replay       seed=0, or pytest --invariscope-seed 0" in lines


def test_the_message_says_which_part_of_the_output_is_the_prediction():
    class Two(Brighter):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"scores": super().forward(x), "pixels": x.flatten(1)}

    limit = {"output:prediction.flips": 0.02}
    assert "the model's prediction, 'scores' of what Two returns" in str(
        broken(model=Two(), max=limit, output="scores")
    )
    with pytest.raises(ValueError, match="Pass output="):
        checked(model=Two(), max=limit)


def test_numbers_that_six_digits_do_not_tell_apart_get_more():
    (said, *_) = str(broken(max={"output:prediction.flips": FLIPS - 1e-10})).splitlines()
    assert said == "output: prediction.flips is 0.1666666667, must be ≤ 0.1666666666"


def test_numbers_of_other_libraries_are_limits():
    numbers = (np.float32(0.5), np.int64(1), Fraction(1, 2))
    verdicts = [checked(max={"output:prediction.flips": number}) for number in numbers]
    assert [verdict.outcomes[0].limit.bound for verdict in verdicts] == [0.5, 1.0, 0.5]


def test_globs_limit_every_layer_they_match():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 2))
    for layer in (model[1], model[2]):
        nn.init.constant_(layer.weight, 0.1)  # sums, which turns do not change
        nn.init.zeros_(layer.bias)
    verdict = checked(model=model, max={"[12]:normalized_variance": 1e-6})
    assert [outcome.name for outcome in verdict.outcomes] == ["1", "2"]


def test_a_dead_layer_has_no_value_and_fails():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.constant_(model[1].bias, -1e3)
    error = broken(model=model, max={"2:normalized_variance": 9})
    assert "2: normalized_variance has no value" in str(error)
    assert [outcome.status for outcome in error.verdict.broken] == ["no value"]


def test_a_constant_prediction_holds_with_a_caution():
    verdict = checked(images(0), min={"output:consistency": 0.95})
    assert verdict.outcomes[0].value == 1
    assert verdict.summary.endswith(f"1 of 1 limits hold; with cautions: output ({INSENSITIVE}; {UNMOVED})")


def test_layers_that_a_glob_matches_but_the_measure_skips_are_named(tmp_path):
    class Ragged(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            self.other(x[:1])
            return super().forward(x)

    model = Ragged()
    model.other, model.idle = nn.Conv2d(1, 1, 1), nn.Linear(1, 1)
    verdict = checked(model=model, max={"*:normalized_variance": 9}, min={"rows:normalized_variance": 0})
    assert [one.layer for one in verdict.unmeasured] == ["other", "idle"]
    assert verdict.summary.endswith("; not measured: other, idle")
    verdict.write_junit(tmp_path / "limits.xml")
    suite = ElementTree.parse(tmp_path / "limits.xml").getroot().find("testsuite")
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "2")
    error = broken(model=model, max={"*:normalized_variance": 1e-9})
    assert "  not measured other, idle" in str(error)
    for name in ("other", "idle"):
        with pytest.raises(ValueError, match=f"no value for the layers '{name}'"):
            checked(model=model, max={"rows:normalized_variance": 9, f"{name}:normalized_variance": 9})


def test_containers_and_every_layer_can_be_limited_together():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2))
    verdict = checked(model=model, max={"*:normalized_variance": 9, "1:normalized_variance": 9})
    names = [outcome.name for outcome in verdict.outcomes]
    assert names == ["0", "1.0", "1.1", "1", "2", "Sequential", "1"]


def test_a_layer_with_colons_in_its_name_can_be_limited():
    model = nn.Sequential()
    for name in ("stem:0", "a::b"):
        model.add_module(name, nn.Flatten())
    verdict = checked(model=model, max={"stem:0:normalized_variance": 9, "a:*:normalized_variance": 9})
    assert [outcome.name for outcome in verdict.outcomes] == ["stem:0", "a::b"]


REFUSED = [
    ({}, ValueError, "nothing to check: give min= or max="),
    ({"max": {}}, ValueError, "nothing to check"),
    ({"max": [("output:consistency", 0.9)]}, TypeError, "max= must be a mapping .*got list"),
    ({"min": {3: 1}}, TypeError, "keys of limits must be strings.*got 3"),
    ({"min": {"output:consistency": float("nan")}}, ValueError, "must be a finite number; got nan"),
    ({"min": {"output:consistency": float("inf")}}, ValueError, "must be a finite number; got inf"),
    ({"max": {"rows:normalized_variance": 10**400}}, ValueError, "must be a finite number; got 1000"),
    ({"min": {"output:consistency": True}}, ValueError, "must be a finite number; got True"),
    ({"min": {"output:consistency": "0.9"}}, ValueError, "must be a finite number; got '0.9'"),
    ({"min": {"output:consistency": 95}}, ValueError, "never holds.*Write 0.95 for 95 %"),
    ({"min": {"output": 0.9}}, ValueError, "cannot read the limit 'output'; write {'layer:measure'"),
    ({"min": {"output:consistancy": 0.9}}, ValueError, "unknown measure 'consistancy'. Closest: 'consist"),
    ({"min": {"output:accuracy": 0.9}}, ValueError, "'accuracy'. Did you mean 'prediction.accuracy' or"),
    ({"max": {"output:prediction.flip": 0.9}}, ValueError, "Closest: 'prediction.flips'"),
    ({"max": {"output:prediction": 0.9}}, ValueError, "name one of them.*'prediction.flips'"),
    ({"max": {"outptu:prediction.flips": 0.9}}, ValueError, "write 'output:prediction.flips'"),
    ({"max": {"rwos:normalized_variance": 1}}, ValueError, "no layer matches 'rwos'.*Closest: 'rows'"),
    ({"max": {"output:normalized_variance": 1}}, ValueError, "Name the last layer instead of 'output'"),
    ({"min": {"output:prediction.accuracy": 0.9}}, ValueError, r"needs labels.*pass \(inputs, labels\)"),
    (
        {"min": {"output:consistency": 0.6}, "max": {"output:consistency": 0.5}},
        ValueError,
        "Were they swapped",
    ),
]


@pytest.mark.parametrize(("options", "kind", "said"), REFUSED, ids=[said for *_, said in REFUSED])
def test_a_limit_that_cannot_be_meant_is_an_error_and_never_passes(options, kind, said):
    with pytest.raises(kind, match=said) as caught:
        checked(**options)
    assert not isinstance(caught.value, AssertionError)


def test_a_session_gives_the_seed_and_the_samples_and_hears_the_verdict():
    heard = []
    with using(Session(seed=3, samples=40, on_verdict=heard.append)):
        verdict = checked(min={"output:consistency": 0})
    assert (verdict.seed, verdict.samples, verdict.outcomes[0].samples) == (3, 40, 40)
    assert heard == [verdict.summary]


def test_the_verdict_writes_the_junit_file_of_the_command(tmp_path):
    verdict = broken(min={"output:consistency": 0.95}, max={"output:prediction.flips": 0.5}).verdict
    verdict.write_junit(tmp_path / "limits.xml")
    suite = ElementTree.parse(tmp_path / "limits.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    names = [case.get("name") for case in suite.findall("testcase")]
    assert names == ["output prediction.flips ≤ 0.5", "output consistency ≥ 0.95"]


def test_a_notebook_lists_broken_limits_first():
    card = broken(
        min={"output:consistency": 0.95}, max={"output:prediction.flips": 0.5}
    ).verdict._repr_html_()
    assert card.index("consistency (broken)") < card.index("prediction.flips (holds)")


@pytest.mark.parametrize(
    "fail",
    [
        lambda: iv.assert_limits(Brighter(), images(), TURNS, max={"output:prediction.flips": 0}),
        lambda: iv.assert_invariant(Brighter(), images(), TURNS),
    ],
    ids=["limits", "invariant"],
)
def test_an_error_can_be_raised_in_another_process(fail):
    with pytest.raises(AssertionError) as caught:
        fail()
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)
    assert again.verdict.summary == caught.value.verdict.summary
