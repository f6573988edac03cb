"""The example runs as it stands, and prints what it has measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from invariscope.monitor import load_history

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "monitor_training.py"


def test_the_example_shows_curves_and_what_they_cost(tmp_path):
    size = ("--samples", "128", "--probes", "64", "--filters", "2", "--epochs", "2", "--every", "2")
    options = (*size, "--out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    history = load_history(tmp_path / "out" / "curves")
    assert list(history.results) == [0, 2]
    last = history.table.query("layer == 'log_softmax'")["value"]
    printed = re.search(r"^log_softmax +(\S+) +(\S+)$", done.stdout, re.M)
    assert printed is not None
    assert [float(text) for text in printed.groups()] == [round(value, 3) for value in last]
    overhead = re.search(r"overhead over the whole run: ([\d.]+)%", done.stdout)
    assert overhead is not None
    assert abs(float(overhead[1]) / 100 - history.overhead) < 0.001
    assert (tmp_path / "out" / "layers_over_epochs.png").stat().st_size > 0
