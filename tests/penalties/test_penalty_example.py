"""The example runs as it stands, and its table shows what the penalty is for."""

from __future__ import annotations

import math
import runpy
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "penalty_rotation.py"


def test_the_example_prints_accuracy_beside_measured_invariance(tmp_path):
    size = ("--samples", "256", "--test", "64", "--epochs", "2", "--weights", "1")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *size], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    variance = {row[0]: float(row[4].split()[0]) for row in rows}
    assert list(variance) == [
        "upright digits",
        "upright digits, variance",
        "upright digits, variance, SV fixed",
        "upright digits, divergence",
        "rotated digits",
    ]
    assert variance["upright digits, variance"] < 0.6 * variance["upright digits"]
    assert all(0 <= float(cell.rstrip("%")) <= 100 for row in rows for cell in row[2:4])


def test_a_dead_layer_has_no_value_and_zero_no_sign():
    estimate = runpy.run_path(str(EXAMPLE))["estimate"]
    assert estimate(math.nan, math.nan, math.nan) == "none: the layer is dead"
    assert estimate(-1e-9, -1e-9, 1e-9) == "0.000 (0.000 to 0.000)"
    assert estimate(-0.0012, math.nan, math.nan) == "-0.001"
