"""`make` sets everything up itself, in the right order, once; and starts over after an interruption."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from marked_pages import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# Stands in for the interpreter: `-m venv DIR` makes DIR/bin of stand-ins that note how they were called.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
if [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  for name in python ruff pyright mkdocs invariscope cyclonedx-py; do cp "$0" "$3/bin/$name"; done
fi
case "$*" in *"$BREAK_AT"*) [ -z "$BREAK_AT" ] || exit 1 ;; esac
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / "stand-in").write_text(STAND_IN)
    (tmp_path / "stand-in").chmod(0o755)
    return tmp_path


def make(checkout: Path, *targets: str, break_at: str = "", code: int = 0) -> list[str]:
    """The commands that `make` ran in the checkout."""
    log = checkout / "log"
    log.write_text("")
    done = started(checkout, "PYTHON=./stand-in", *targets, LOG=str(log), BREAK_AT=break_at)
    assert (done.returncode != 0) == bool(code), done.stdout + done.stderr
    return log.read_text().splitlines()


def started(checkout: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One call of `make`. A `make test` around this test must not hand its own flags on."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env={**outer, **settings}, capture_output=True, text=True
    )


def installs(commands: list[str]) -> list[str]:
    """What was installed, in order."""
    return [command.split()[-1].strip("'") for command in commands if " pip install " in command]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("demo", ["torch", "."]),
        ("campaign", ["torch", "."]),
        ("soak", ["torch", "."]),
        ("test", ["torch", ".[dev,docs]"]),
        ("lint", ["torch", ".[dev,docs]"]),
        ("docs", ["torch", ".[dev,docs]"]),
        ("pages", ["torch", ".[dev,docs]"]),
        ("bench", ["torch", ".[bench]", "lie_learn==0.0.2"]),
        ("peers", ["torch", ".[bench]", "lie_learn==0.0.2"]),
        ("atlas", ["torch", "."]),
        ("test-models", ["torch", ".[models]", "timm"]),
        ("test-worlds", ["torch", ".[worlds]", "resemblyzer"]),
        ("test-loggers", ["torch", ".[loggers]"]),
    ],
)
def test_torch_is_installed_first_and_every_install_is_constrained(checkout, target, wanted):
    commands = make(checkout, target)
    assert installs(commands) == wanted
    assert all(
        "--constraint constraints.txt" in command for command in commands if " pip install " in command
    )


def test_what_is_set_up_stays_set_up(checkout):
    make(checkout, "lint", "test")
    assert installs(make(checkout, "lint", "test")) == []
    assert installs(make(checkout, "demo")) == ["."]


def test_the_benchmarks_have_an_environment_of_their_own(checkout):
    make(checkout, "test")
    make(checkout, "bench")
    assert (checkout / ".venv-bench/.bench").exists()
    assert not (checkout / ".venv/.bench").exists()


@pytest.mark.parametrize("target", ["test-wheel", "sbom"])
def test_a_wheel_is_tried_in_an_environment_that_holds_torch_and_the_wheel_alone(checkout, target):
    (checkout / "dist").mkdir()
    (checkout / ".venv-wheel").mkdir()
    (checkout / ".venv-wheel/left-over").write_text("")
    commands = make(checkout, target)
    assert installs(commands)[:3] == ["cyclonedx-bom", "torch", "dist/*.whl"]
    assert installs(commands)[3:] == (["pytest>=8.2"] if target == "test-wheel" else [])
    assert not (checkout / ".venv-wheel/left-over").exists()


def test_a_change_of_the_requirements_is_installed(checkout):
    make(checkout, "test")
    for age, name in enumerate(("pyproject.toml", ".venv/.dev", ".venv/.torch", "constraints.txt")):
        os.utime(checkout / name, (2e9 - age, 2e9 - age))
    assert installs(make(checkout, "test")) == [".[dev,docs]"]


@pytest.mark.parametrize(
    "step", ["install -qq --disable-pip-version-check --constraint constraints.txt torch", "--editable"]
)
def test_an_environment_that_was_cut_short_is_made_anew(checkout, step):
    make(checkout, "test", break_at=step, code=2)
    (checkout / ".venv/left-over").write_text("")
    assert installs(make(checkout, "test")) == ["torch", ".[dev,docs]"]
    assert not (checkout / ".venv/left-over").exists()


def test_an_old_interpreter_is_refused_before_anything_is_made(checkout):
    make(checkout, "test", break_at="sys.version_info", code=2)
    assert not (checkout / ".venv").exists()


def test_help_names_every_target(checkout):
    said = started(checkout).stdout
    assert [line.split()[1] for line in said.splitlines()] == [
        "demo",
        "test",
        "coverage",
        "lint",
        "bench",
        "peers",
        "atlas",
        "kills",
        "test-browser",
        "test-models",
        "test-worlds",
        "test-loggers",
        "wheel",
        "test-wheel",
        "sbom",
        "stubs",
        "docs",
        "pages",
        "soak",
        "campaign",
        "help",
    ]
