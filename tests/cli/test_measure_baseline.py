"""`invariscope measure --baseline random`: the numbers of the Python call, a column, clear refusals."""

from __future__ import annotations

import runpy

import numpy as np
import torch

import invariscope as iv

MEASURE = ("measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--no-progress")


def test_the_baseline_is_that_of_the_python_call_and_stands_in_the_table(invoke):
    done = invoke(*MEASURE, "--baseline", "random", "--draws", "3")
    assert done.exit_code == 0, done.output
    assert "random nets" in done.stdout
    with np.load("digits.npz") as arrays:
        data = (arrays["x"].astype(np.float32), arrays["y"])
    model = runpy.run_path("net.py")["make"]()
    direct = iv.measure(model, data, iv.QuarterTurns(), baseline="random", draws=3, progress=False)
    saved = iv.load("run")
    assert (saved.baseline["draws"] <= 3).all()
    assert saved.baseline.equals(direct.baseline)


def test_without_it_the_table_has_no_such_column(invoke):
    done = invoke(*MEASURE)
    assert done.exit_code == 0, done.output
    assert "random nets" not in done.stdout
    assert len(iv.load("run").baseline) == 0


def test_an_unknown_baseline_and_a_single_draw_are_refused(invoke):
    unknown = invoke(*MEASURE, "--baseline", "trained")
    assert unknown.exit_code != 0
    assert "unknown baseline 'trained'" in unknown.output
    single = invoke(*MEASURE, "--baseline", "random", "--draws", "1")
    assert single.exit_code != 0
    assert "draws must be an integer, at least 2" in single.output


def test_a_user_function_builds_the_random_networks(invoke, tmp_path):
    (tmp_path / "bare.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.rand(8, 8))\n"
        "    def forward(self, x):\n"
        "        return x.flatten(1)[:, :8] @ self.weight\n"
        "net = Net()\n"
    )
    measure = (
        "measure",
        f"{tmp_path}/bare.py:Net",
        *MEASURE[2:],
        "--draws",
        "3",
        "--overwrite",
        "--baseline",
    )
    torch.manual_seed(0)
    refused = invoke(*measure, "random")
    assert refused.exit_code != 0
    assert "no initialiser for 'weight'" in " ".join(refused.output.split())
    done = invoke(*measure, f"{tmp_path}/bare.py:Net")
    assert done.exit_code == 0, done.output
    baseline = iv.load("run").baseline
    assert (baseline["low"] < baseline["high"]).all()
    assert "must name a function or class" in " ".join(
        invoke(*measure, f"{tmp_path}/bare.py:net").output.split()
    )
