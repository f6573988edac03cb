"""A tiny network in a file, tiny data in files, a way to run a command, and runs that are finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from invariscope.cli.app import app

NET = """
from pathlib import Path

import torch
from torch import nn


def make():
    (Path(__file__).parent / "made").touch()
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


class Interrupting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.calls = nn.Linear(64, 3), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 5:
            raise KeyboardInterrupt
        return self.linear(x.flatten(1))


ready = make()
elements = [lambda x: x, lambda x: x.flip(-1)]


def needs(argument):
    return argument


def broken():
    raise KeyError("out of order")


def refuses():
    raise ValueError("wrong [bold]phase[/bold] of the moon")
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """A working directory with net.py and digits.npz: 96 images (1, 8, 8) of three classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "net.py").write_text(NET)
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = generator.random((96, 1, 8, 8)) + labels[:, None, None, None]
    np.savez(tmp_path / "digits.npz", x=images, y=labels)
    return tmp_path


@pytest.fixture
def invoke(workplace) -> Callable[..., Result]:
    """Runs a command in the workplace."""
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def fails(invoke) -> Callable[..., str]:
    """Runs a command that the user has to fix; returns its one line."""

    def run(*arguments: str) -> str:
        done = invoke(*arguments)
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("error: "), done.stderr
        assert "Traceback" not in done.output
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    return run


@pytest.fixture
def measured(invoke) -> Callable[..., Path]:
    """Measures a model into a folder of a given name."""

    def run(name: str, *options: str, model: str = "net.py:make") -> Path:
        arguments = ("measure", model, "digits.npz", "-t", "quarter_turns", "--out", name, *options)
        done = invoke(*arguments)
        assert done.exit_code == 0, done.output
        return Path(name)

    return run


@pytest.fixture(scope="session")
def _finished_runs(tmp_path_factory) -> Path:
    """Folder of the runs that were asked for so far, each by its options."""
    return tmp_path_factory.mktemp("finished_runs")


@pytest.fixture
def finished(measured, _finished_runs) -> Callable[..., Path]:
    """Puts a run below a given name, as `measured` would, but measures only once for the same options.

    For tests of what is done with a run.
    """

    def run(name: str, *options: str) -> Path:
        kept = _finished_runs / (" ".join(options) or "plain")
        if not kept.exists():
            shutil.copytree(measured("first", *options), kept)
            shutil.rmtree("first")
        return shutil.copytree(kept, Path(name))

    return run
