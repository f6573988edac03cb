"""`invariscope measure`: a result is complete or absent, and errors say how to fix them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import invariscope as iv

FILES = {"result.json", "maps.safetensors", "report.html"}


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_measure_prints_a_table_and_writes_three_files(invoke):
    done = invoke(
        *("measure", "net.py:make", "digits.npz", "-t", "Rotation.circle(4)", "--by-class"),
        *("-m", "normalized_variance,prediction", "--label", "tiny [red]net[/red]"),
    )
    assert done.exit_code == 0, done.output
    assert contents(Path("run")) == FILES
    assert "Normalized variance of tiny [red]net[/red]" in done.stdout
    assert "mean of classes" in done.stdout
    assert "Prediction: accuracy" in done.stdout
    assert done.stdout.splitlines()[-1] == str(Path("run/report.html"))


def test_the_numbers_are_those_of_the_python_call(measured):
    import runpy

    saved = iv.load(measured("run", "--seed", "3", "--samples", "80", "--layers", "0", "--layers", "3"))
    with np.load("digits.npz") as arrays:
        data = (arrays["x"].astype(np.float32), arrays["y"])
    model = runpy.run_path("net.py")["make"]()
    direct = iv.measure(model, data, iv.QuarterTurns(), seed=3, samples=80, layers=["0", "3"], progress=False)
    assert saved.table["layer"].tolist() == ["0", "3"]
    np.testing.assert_array_equal(saved.table["value"], direct.table["value"])
    np.testing.assert_array_equal(saved.table["ci_low"], direct.table["ci_low"])


def test_positions_are_whole_numbers_and_no_table_holds_a_mean_of_p_values(invoke):
    wanted = ("-t", "QuarterTurns()", "-m", "worst_element,anova", "--out", "o")
    done = invoke("measure", "net.py:make", "digits.npz", *wanted)
    assert done.exit_code == 0, done.output
    found = iv.load("o").table.set_index(["measure", "layer"])["value"]
    assert {"anova.p", "anova.F", "anova.F_oneway"} <= set(found.index.get_level_values("measure"))
    assert "ANOVA: rejecting bonferroni" in done.output
    for title in ("ANOVA: p of", "ANOVA: F of", "ANOVA: F oneway"):
        assert title not in done.output
    element = done.output.split("Worst element: element of")[1].split("Worst element")[0]
    assert re.search(rf"^0 +{found['worst_element.element', '0']:.0f} ", element, re.M)


def test_a_width_stops_the_command_early_and_says_so(invoke):
    images = np.random.default_rng(0).random((400, 1, 8, 8))
    np.savez("many.npz", x=images, y=np.arange(400) % 3)
    done = invoke(
        *("measure", "net.py:make", "many.npz", "-t", "quarter_turns", "--width", "0.5"),
        *("--at-least", "80", "--decided-by", "3:normalized_variance"),
    )
    assert done.exit_code == 0, done.output
    assert "stopped after 80 of 400 samples" in " ".join(done.stderr.split())
    assert iv.load("run").provenance["sequential"]["samples"] == 80


def test_the_result_holds_pictures_of_an_orbit(finished):
    assert iv.load(finished("run")).examples["orbit"].shape == (4, 1, 8, 8)


def test_the_files_have_the_rights_of_any_new_file(measured):
    Path("plain").touch()
    run = measured("run")
    assert {(run / name).stat().st_mode for name in FILES} == {Path("plain").stat().st_mode}


def test_missing_folders_above_the_result_are_made(measured):
    assert contents(measured("a/b/run")) == FILES
    assert contents(Path("a/b")) == {"run"}


@pytest.mark.parametrize("holding", ["result.json", "notes.txt"])
def test_a_used_folder_is_refused_before_anything_is_measured(holding, fails, workplace):
    Path("run").mkdir()
    (Path("run") / holding).write_text("precious")
    said = fails("measure", "net.py:make", "digits.npz", "-t", "quarter_turns")
    assert ("a saved result" if holding == "result.json" else "other files") in said
    assert said.rstrip().endswith("or --overwrite.")
    assert not (workplace / "made").exists()
    assert contents(Path("run")) == {holding}


def test_overwrite_replaces_the_run_and_leaves_other_files(measured):
    run = measured("run", "--seed", "1")
    (run / "notes.txt").write_text("precious")
    measured("run", "--seed", "2", "--overwrite")
    assert iv.load(run).provenance["seed"] == 2
    assert contents(run) == FILES | {"notes.txt"}


ERRORS = [
    (["nte.py:make", "digits.npz", "-t", "quarter_turns"], "no such file: nte.py"),
    (["net.py:mkae", "digits.npz", "-t", "quarter_turns"], "Closest: 'make'"),
    (["net.py:needs", "digits.npz", "-t", "quarter_turns"], "missing 1 required positional argument"),
    (
        ["net.py:refuses", "digits.npz", "-t", "quarter_turns"],
        "wrong [bold]phase[/bold] of the moon (from net",
    ),
    (["nowhere.at.all:make", "digits.npz", "-t", "quarter_turns"], "No module named 'nowhere'"),
    (["net.py:make", "digit.npz", "-t", "quarter_turns"], "no such file: digit.npz"),
    (["net.py:make", "minst", "-t", "quarter_turns"], "Closest: 'mnist'"),
    (["net.py:make", "digits.npz", "-t", "rotatoin"], "Closest: 'rotation'"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "-m", "varianc"], "Closest: "),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--layers", "cnov*"], "no layer"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--precision", "float23"], "Closest: 'float32'"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--batch-size", "many"], "got 'many'"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--samples", "1"], "at least 2"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--samples", "97"], "only 96"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--width", "0"], "positive number"),
    (["net.py:make", "digits.npz", "-t", "quarter_turns", "--split", "train"], "applies to data sets"),
    (["net.py:make", "digits.npz", "-t", "Rotation([0])"], "at least two"),
    (["net.py:make", "mnist_subset", "-t", "quarter_turns", "--samples", "9"], "28"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), ERRORS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_bad_input_gets_one_clear_line_and_leaves_nothing(arguments, said, fails, workplace):
    before = contents(workplace) | {"made", "__pycache__"}
    assert said in fails("measure", *arguments)
    assert contents(workplace) <= before


def test_a_factory_that_fails_is_the_users_to_mend(invoke):
    done = invoke("measure", "net.py:broken", "digits.npz", "-t", "quarter_turns")
    assert done.exit_code == 2
    assert "net.py:broken failed with KeyError" in done.stderr
    assert not Path("run").exists()


def test_a_defect_keeps_its_traceback(invoke, monkeypatch):
    def defect(*_, **__):
        raise KeyError("ours")

    monkeypatch.setattr("invariscope.engine.pipeline.walk", defect)
    done = invoke("measure", "net.py:make", "digits.npz", "-t", "quarter_turns")
    assert isinstance(done.exception, KeyError)
    assert "error:" not in done.stderr
    assert not Path("run").exists()


def test_an_import_that_fails_in_the_package_is_a_defect(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "invariscope.results.storage", None)
    done = invoke("measure", "net.py:make", "digits.npz", "-t", "quarter_turns")
    assert isinstance(done.exception, ImportError)


def test_debug_shows_where_an_error_comes_from(invoke):
    done = invoke("measure", "net.py:refuses", "digits.npz", "-t", "quarter_turns", "--debug")
    assert done.exit_code == 2
    assert "in refuses" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: wrong [bold]phase")


def test_an_interruption_leaves_nothing(invoke, workplace):
    before = contents(workplace) | {"made", "__pycache__"}
    done = invoke("measure", "net.py:Interrupting", "digits.npz", "-t", "quarter_turns", "--batch-size", "8")
    assert done.exit_code == 130
    assert done.stderr == "interrupted: nothing was written.\n"
    assert contents(workplace) <= before


SLEEPER = """
import time
from pathlib import Path
from torch import nn

class Sleeper(nn.Module):
    def forward(self, x):
        Path("measuring").touch()
        time.sleep(60)
        return x
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(
    ("sent", "ended"),
    [
        (signal.SIGINT, (130, "interrupted: nothing was written.\n")),
        (signal.SIGTERM, (143, "terminated: nothing was written.\n")),
    ],
)
def test_a_process_that_is_told_to_stop_leaves_nothing(sent, ended, workplace):
    Path("sleeper.py").write_text(SLEEPER)
    before = contents(workplace) | {"measuring", "__pycache__"}
    command = ["measure", "sleeper.py:Sleeper", "digits.npz", "-t", "quarter_turns"]
    process = subprocess.Popen(
        [sys.executable, "-m", "invariscope.cli", *command],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore interrupts, and so would this child of one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not Path("measuring").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate()
    assert (process.returncode, said) == ended
    assert contents(workplace) <= before


def test_a_list_of_callables_in_a_file_is_a_transform(invoke):
    done = invoke("measure", "net.py:ready", "digits.npz", "-t", "net.py:elements")
    assert done.exit_code == 0, done.output
    assert iv.load("run").provenance["transform"]["family"] == "elements"


def test_the_transform_of_a_result_is_the_one_that_was_written(finished):
    described = iv.load(finished("run")).provenance["transform"]
    assert described["labels"] == ["0°", "90°", "180°", "270°"]


@pytest.mark.usefixtures("seeded")
def test_layers_that_are_skipped_are_named_below_the_table(invoke, workplace):
    Path("odd.py").write_text(
        "from torch import nn\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear, self.mean = nn.Linear(64, 3), nn.Identity()\n"
        "    def forward(self, x):\n"
        "        x = x.flatten(1)\n"
        "        self.mean(x.detach().mean(0))\n"
        "        return self.linear(x)\n"
    )
    done = invoke("measure", "odd.py:Odd", "digits.npz", "-t", "quarter_turns", "--unstable", "measure")
    assert done.exit_code == 0, done.output
    assert "note: skipped /mean, mean: no axis follows the batch size" in done.stderr


def test_models_that_differentiate_in_their_forward_need_gradients(invoke, tmp_path):
    (tmp_path / "slope.py").write_text(
        "import torch\n"
        "class Slope(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        x.requires_grad_(True)\n"
        "        return torch.autograd.grad(x.square().sum(), x)[0]\n"
    )
    model = f"{tmp_path}/slope.py:Slope"
    command = ("measure", model, "digits.npz", "-t", "quarter_turns", "--no-progress")
    refused = invoke(*command)
    assert refused.exit_code != 0
    assert "--gradients" in refused.output
    done = invoke(*command, "--gradients")
    assert done.exit_code == 0, done.output
    assert invoke("list", "layers", model, "digits.npz", "--gradients").exit_code == 0
    limit = ("--max", "grad:normalized_variance:9")
    assert invoke("check", *command[1:], *limit, "--gradients").exit_code == 0
