"""The record of how a result was obtained names no person, no machine and no secret."""

import getpass
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from invariscope.results import environment
from invariscope.results.environment import LEFT_OUT, anonymous, command_line

HOME = os.path.expanduser("~")


@pytest.mark.parametrize(
    ("argv", "original", "shown"),
    [
        (["/opt/env/bin/invariscope", "measure"], ["python"], ["invariscope", "measure"]),
        (["/x/pkg/__main__.py", "a"], ["python", "-P", "-m", "pkg", "a"], ["python", "-m", "pkg", "a"]),
        (["-c", "1"], ["python", "-c", "pass", "1"], ["python", "-c", "1"]),
        ([""], ["python"], ["python"]),
        (["t.py", "--token", "abc", "--lr", "1"], [], ["t.py", "--token", LEFT_OUT, "--lr", "1"]),
        (
            ["t.py", "--hf-token=abc", "WANDB_API_KEY=abc"],
            [],
            ["t.py", f"--hf-token={LEFT_OUT}", f"WANDB_API_KEY={LEFT_OUT}"],
        ),
        (["t.py", "--password", "--seed", "3"], [], ["t.py", "--password", "--seed", "3"]),
        (["t.py", "hf_" + "a1" * 12], [], ["t.py", LEFT_OUT]),
        (["t.py", "https://me:secret@host.org/x.npz"], [], ["t.py", "https://host.org/x.npz"]),
        (["t.py", f"{HOME}/data/x.npz"], [], ["t.py", "~/data/x.npz"]),
        (["t.py", "--d=/home/someone/nets"], [], ["t.py", "--d=~/nets"]),
        (["t.py", "/srv/sets/mnist", "--out=/srv/runs/a"], [], ["t.py", "…/mnist", "--out=…/a"]),
        (["t.py", r"C:\Users\someone\nets"], [], ["t.py", r"~\nets"]),
        (
            ["t.py", "--filters=8", "resnet9(width=32)", "a/b.npz"],
            [],
            ["t.py", "--filters=8", "resnet9(width=32)", "a/b.npz"],
        ),
    ],
)
def test_a_command_line_is_shown_without_secrets_and_homes(argv, original, shown):
    assert command_line(argv, original) == shown


def test_paths_below_the_working_folder_are_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert anonymous(f"{tmp_path}/runs/a") == "./runs/a"


def test_neither_user_nor_host_is_named(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(platform, "node", lambda: "engine7")
    environment._own_names.cache_clear()
    try:
        text = anonymous("s3://bucket/ada/x ada@engine7:/scratch/ada/x ./adamant")
    finally:
        environment._own_names.cache_clear()
    assert "ada" not in text.replace("adamant", "")
    assert "engine7" not in text
    assert text.endswith("./adamant")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_the_users_code_is_recorded_with_changes(tmp_path):
    def git(*words):
        names = ["-c", "user.name=n", "-c", "user.email=e@x.org"]
        subprocess.run(["git", "-C", str(tmp_path), *names, *words], check=True, capture_output=True)

    assert environment._commit(str(tmp_path)) == {}
    git("init")
    (tmp_path / "net.py").write_text("1\n")
    git("add", ".")
    git("commit", "-m", "x")
    environment._commit.cache_clear()
    clean = environment._commit(str(tmp_path))
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (tmp_path / "net.py").write_text("2\n")
    environment._commit.cache_clear()
    assert environment._commit(str(tmp_path)) == {"commit": clean["commit"], "dirty": True}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_looking_up_the_commit_runs_no_program_that_the_repository_names(tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(tmp_path), "init"], check=True, capture_output=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fsmonitor", str(hook)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "status"], capture_output=True)
    assert (tmp_path / "ran").exists(), "the check cannot fail"
    (tmp_path / "ran").unlink()
    environment._commit(str(tmp_path))
    assert not Path(tmp_path / "ran").exists()
