"""The workflow and the test file that the page on testing shows, run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from invariscope.cli.app import app
from project.marked_pages import ROOT, files_of

PAGE, WORKFLOW = ROOT / "docs" / "testing.md", ROOT / "examples" / "check.yml"
NET = """
import numpy as np
import torch
from torch import nn

data = np.load("digits.npz")
images, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])


class Bright(nn.Module):
    def forward(self, x):
        mean = {mean}
        return torch.stack([mean, 1 - mean], 1)


def make():
    return Bright()
"""
EXACT, CORNER = "x.mean((1, 2, 3))", "x[:, 0, 0, 0]"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with digits.npz, and net.py that classifies bright and dark images."""
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    noise = np.random.default_rng(0).random((96, 1, 8, 8))
    x = 0.6 * noise + np.where(np.arange(96) % 2, 0.0, 0.4)[:, None, None, None]
    np.savez("digits.npz", x=x.astype(np.float32), y=np.arange(96) % 2)

    def make(mean: str) -> None:
        Path("net.py").write_text(NET.format(mean=mean))

    return make


def steps() -> list[str]:
    """The commands of the workflow, one per entry."""
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["symmetry"]
    return [line for step in job["steps"] for line in step.get("run", "").splitlines() if line.strip()]


def run(command: str):
    return CliRunner().invoke(app, shlex.split(command)[1:])


def test_the_commands_of_the_workflow_guard_a_network(place):
    place(EXACT)
    (check,) = (line for line in steps() if line.startswith("invariscope check "))
    done = run(check)
    assert done.exit_code == 0, done.output
    assert ElementTree.parse("reports/check.xml").getroot().get("tests") == "3"
    Path("other.py").write_text(NET.format(mean=CORNER))
    assert run(check.replace("net.py", "other.py")).exit_code == 1
    assert ElementTree.parse("reports/check.xml").getroot().get("failures") == "3"


@pytest.mark.slow
def test_the_commands_of_the_workflow_write_a_report(place):
    place(EXACT)
    commands = [line for line in steps() if re.match("invariscope (measure|report) ", line)]
    assert [run(command).exit_code for command in commands] == [0, 0]
    assert Path("reports/report.html").stat().st_size > 10_000


def test_the_test_file_of_the_page_guards_a_network(place):
    place(CORNER)
    for name, text in files_of(PAGE).items():
        Path(name).write_text(text)
    (command,) = (line for line in steps() if line.startswith("pytest "))
    plugin = ("-p", "no:invariscope", "-p", "invariscope.pytest_plugin", "-p", "no:cacheprovider")
    words = [sys.executable, "-m", *shlex.split(command), *plugin]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(r"^E .*output: prediction\.flips is 0\.\d+, must be ≤ 0\.02$", done.stdout, re.M)
    assert "::test_turned_images_keep_their_class: Bright limits: 0 of 3 limits hold" in done.stdout
    assert 'name="invariscope" value="Bright limits: ' in Path("reports/pytest.xml").read_text()


def test_the_page_shows_the_workflow_file():
    shown = re.search(r"^<!-- shown: (\S+) -->\n```yaml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert (ROOT / shown[1]).read_text() == shown[2]


def test_the_workflow_installs_first_and_uploads_whatever_fails():
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["symmetry"]
    texts = [step.get("run", step.get("uses", "")) for step in job["steps"]]
    assert "pip install" in texts[2]
    assert texts[-1].startswith("actions/upload-artifact@")
    assert all("!cancelled()" in str(step.get("if", "")) for step in job["steps"][4:])
