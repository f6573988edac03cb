"""`invariscope check`: limits that hold, limits that do not, and what continuous integration reads."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from invariscope.engine.extras.cautions import INSENSITIVE

TURNS = ("-t", "quarter_turns", "--no-progress")


def checked(invoke, *options, model="net.py:make"):
    return invoke("check", model, "digits.npz", *TURNS, *options)


def test_limits_that_hold_end_with_0_and_are_listed(invoke):
    done = checked(invoke, "--max", "*:normalized_variance:2", "--min", "output:prediction.accuracy:0")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "6 of 6 limits hold"
    assert "Limits of net:make" in done.stdout
    named = checked(invoke, "--max", "0:normalized_variance:2", "--label", "trial 7")
    assert "Limits of trial 7" in named.stdout


def test_a_broken_limit_ends_with_1_and_is_named(invoke):
    done = checked(invoke, "--max", "3:normalized_variance:0.001", "--max", "0:normalized_variance:2")
    assert done.exit_code == 1, done.output
    assert done.stdout.splitlines()[-1] == "1 of 2 limits hold"
    assert done.stderr.startswith("broken: 3: normalized_variance is 0.")
    assert "must be ≤ 0.001 (95 % interval 0." in done.stderr


def test_a_limit_on_the_output_says_what_the_output_is(invoke):
    done = checked(invoke, "--min", "output:consistency:.999", "--max", "output:prediction.flips:.001")
    assert done.exit_code == 1, done.output
    assert "note: output is the model's prediction, what Sequential returns" in " ".join(done.stderr.split())
    assert done.stderr.count("broken: output: ") == 2


def test_the_value_that_is_judged_is_that_of_measure(invoke, measured):
    import invariscope as iv

    table = iv.load(measured("run", "--layers", "3", "--seed", "2", "--samples", "80")).table
    value = float(table["value"][0])
    same = ("--seed", "2", "--samples", "80")
    assert checked(invoke, "--max", f"3:normalized_variance:{value!r}", *same).exit_code == 0
    below = float(np.nextafter(value, 0))
    assert checked(invoke, "--max", f"3:normalized_variance:{below!r}", *same).exit_code == 1


@pytest.mark.usefixtures("seeded")
def test_a_constant_network_keeps_its_limits_with_a_caution(invoke, workplace):
    (workplace / "constant.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "    nn.init.zeros_(net[1].weight)\n    return net\n"
    )
    limits = ("--min", "output:consistency:.9", "--max", "output:prediction.flips:.1")
    done = checked(invoke, *limits, model="constant.py:make")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"2 of 2 limits hold; with cautions: output ({INSENSITIVE})"


@pytest.mark.usefixtures("seeded")
def test_a_dead_layer_does_not_pass_silently(invoke, workplace):
    (workplace / "dead.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 3))\n"
        "    net[1].bias.data.fill_(-1e3)\n"
        "    return net\n"
    )
    limit = ("--max", "2:normalized_variance:9", "--junit", "dead.xml")
    done = checked(invoke, *limit, model="dead.py:make")
    assert done.exit_code == 1, done.output
    assert "no value: 2: normalized_variance has no value" in done.stderr
    assert ElementTree.parse("dead.xml").getroot().get("errors") == "1"


def test_the_junit_file_replaces_the_old_one(invoke):
    Path("a.xml").write_text("<testsuites/>")
    done = checked(invoke, "--max", "*:normalized_variance:0.001", "--junit", "a.xml")
    assert done.exit_code == 1
    root = ElementTree.parse("a.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("5", "5")
    assert root.find("testsuite/testcase").get("classname") == "net:make.normalized_variance"


ERRORS = [
    ([], "nothing to check: give --max or --min"),
    (["--max", "cnov:normalized_variance:1"], "no layer matches 'cnov'"),
    (["--max", "*:normalized_variance:1", "--max", "x:normalized_variance:1"], "no layer matches 'x'"),
    (["--max", "0:spectrum.power:1"], "has no single value at the layers '0'. Values there: 'spectrum."),
    (["--max", "0:normalised_variance:1"], "Closest: 'normalized_variance'"),
    (["--max", "0:normalized_variance"], "write GLOB:measure:value"),
    (["--max", "0:prediction:1"], "write 'output:prediction:1'"),
    (["--max", "0:anova.shrae:1"], "unknown output of anova"),
    (["--max", "output:normalized_variance:1"], "Name the last layer instead of 'output'"),
    (["--min", "output:consistency:95"], "Write 0.95 for 95 %"),
    (["--max", "0:anova.F:1", "--min", "0:anova.F:2"], "Were they swapped?"),
    (["--max", "3:same_equivariance:1"], "applies to none"),
    (
        ["--max", "0:anova.F:1", "--junit", "digits.npz"],
        "exists and is not an XML file, so it is not replaced",
    ),
    (["--max", "0:anova.F:1", "--junit", "nowhere/a.xml"], "nowhere does not exist"),
    (["--max", "0:anova.F:1", "--junit", "."], "is a folder; give a file name"),
    (["--max", "0:anova.F:1", "--samples", "1"], "at least 2"),
]


@pytest.mark.parametrize(("options", "said"), ERRORS, ids=[said for _, said in ERRORS])
def test_what_cannot_be_checked_ends_with_2_and_writes_nothing(options, said, fails):
    junit = [] if "--junit" in options else ["--junit", "a.xml"]
    assert said in fails("check", "net.py:make", "digits.npz", *TURNS, *options, *junit)
    assert list(Path().glob("*.xml")) == []


@pytest.mark.usefixtures("seeded")
def test_a_layer_that_loses_every_sample_keeps_no_limit(invoke):
    Path("lost.py").write_text(
        "import torch\nfrom torch import nn\n\ndef make():\n"
        "    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))\n"
        "    model[1].weight.data[0] = torch.nan\n    return model\n"
    )
    limit = ["--max", "*:normalized_variance:100", "--nonfinite", "skip"]
    done = invoke("check", "lost.py:make", "digits.npz", *TURNS, *limit)
    assert done.exit_code == 1
    assert "no sample has finite responses" in done.stderr


def test_a_factory_that_fails_is_not_a_broken_limit(fails):
    Path("boom.py").write_text("def make():\n    raise RuntimeError('no weights here')\n")
    said = fails("check", "boom.py:make", "digits.npz", *TURNS, "--max", "*:normalized_variance:1")
    assert "boom.py:make failed with RuntimeError: no weights here" in said


def test_an_output_that_needs_labels_says_so_where_there_are_none(fails):
    np.savez("plain.npz", x=np.random.default_rng(0).random((64, 1, 8, 8), np.float32))
    limit = ["--min", "output:prediction.accuracy:1"]
    said = fails("check", "net.py:make", "plain.npz", *TURNS, *limit)
    assert "needs labels, which the data do not have: pass (inputs, labels)" in said


def test_whole_numbers_are_labels_too_and_an_output_is_asked_for(fails):
    assert np.load("digits.npz")["y"].dtype.kind == "i"
    said = fails("check", "net.py:make", "digits.npz", *TURNS, "--min", "output:prediction.acuracy:1")
    assert "Closest: 'prediction.accuracy'" in said
    assert "the data do not have" not in said
    said = fails("check", "net.py:make", "digits.npz", *TURNS, "--min", "output:prediction:0.9")
    assert "name one of them" in said
    assert "'prediction.accuracy'" in said
