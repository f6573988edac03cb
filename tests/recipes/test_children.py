"""Processes of cells end with the command that started them, and cells survive being killed at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from invariscope.lab import recipes
from invariscope.lab.recipes import stopping
from invariscope.lab.recipes import store as storing
from invariscope.lab.recipes.running import own_command

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
STARTED_BY_ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

# Stands in for a cell: takes a second to save its state.
CHILD = """
import runpy, sys, time
stopping = runpy.run_path(sys.argv[1])  # without its package, which would import torch
with stopping["stopping_gently"]():
    stopping["end_with_parent"]()
    print("ready", flush=True)
    try:
        while True:
            time.sleep(0.05)
            stopping["raise_if_requested"]()
    except KeyboardInterrupt:
        open(sys.argv[2], "w").write("saved")
"""
PARENT = """
import os, runpy, subprocess, sys, time, types
from invariscope.cli import end_on_signals
stopping = runpy.run_path(sys.argv[2])
end_on_signals()
running = {}
with stopping["ending"](running):
    child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], stdout=subprocess.PIPE, text=True,
                             env=os.environ | stopping["parent_named"](), start_new_session=True)
    running["cell"] = types.SimpleNamespace(process=child)
    print(child.stdout.readline().strip(), child.pid, flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@POSIX
@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_cell_saves_its_state_and_ends_with_its_command(sign, tmp_path):
    saved = tmp_path / "saved"
    command = [sys.executable, "-c", PARENT, CHILD, stopping.__file__, str(saved)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=STARTED_BY_ENV
    ) as parent:
        assert parent.stdout
        word, _, pid = parent.stdout.readline().partition(" ")
        assert word == "ready"
        parent.send_signal(sign)
        parent.wait(30)
    for _ in range(200):
        if not alive(int(pid)):
            break
        time.sleep(0.05)
    assert not alive(int(pid))
    assert saved.read_text() == "saved"


def test_a_module_in_the_working_folder_is_not_imported(tmp_path):
    for name in ("random", "queue", "torch", "rich"):
        (tmp_path / f"{name}.py").write_text(f"open('{name} ran', 'w')\nraise SystemExit(3)\n")
    for command in (own_command(), [sys.executable, "-m", "invariscope"]):
        done = subprocess.run(
            [*command, "--version"], cwd=tmp_path, capture_output=True, text=True, env=STARTED_BY_ENV
        )
        assert (done.returncode, done.stdout[:11]) == (0, "invariscope"), done.stderr
    assert not list(tmp_path.glob("* ran"))
    subprocess.run([sys.executable, "-m", "queue"], cwd=tmp_path, env=STARTED_BY_ENV)
    assert list(tmp_path.glob("queue ran")), "the check cannot fail"


def test_a_program_of_the_working_folder_still_imports_its_own_modules(tmp_path):
    (tmp_path / "program.py").write_text("import invariscope\nimport beside\n")
    (tmp_path / "beside.py").write_text("print('own module')\n")
    done = subprocess.run(
        [sys.executable, "-m", "program"], cwd=tmp_path, capture_output=True, text=True, env=STARTED_BY_ENV
    )
    assert done.stdout == "own module\n", done.stderr


class Killed(BaseException):
    """Stands in for SIGKILL: nothing cleans up after it."""


@pytest.mark.parametrize("moment", ["before the files", "before the folder", "after the folder"])
def test_a_cell_killed_while_it_is_published_resumes(moment, recipe, tmp_path, monkeypatch):
    store = recipes.Store(tmp_path / "out", recipes.load(str(recipe())))
    cell = store.plan["random/0"]

    def killed(*arguments, **options):
        if moment == "after the folder":
            os.rename(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(storing, "file_digest" if moment == "before the files" else "appear", killed)
        patch.setattr(shutil, "rmtree", lambda *arguments, **options: None)
        with pytest.raises(Killed):
            recipes.run_cell(store, cell, threads=1, log=str)
    again = recipes.Store(store.root, store.plan)
    ran = recipes.run_cell(again, cell, threads=1, log=str)
    assert ran == (moment != "after the folder")
    assert again.manifest(cell)
