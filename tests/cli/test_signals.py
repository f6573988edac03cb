"""Signals that arrive while a module is being imported, where libraries catch every exception."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# Stands for a library that catches everything while it is imported.
CARELESS = """
import sys, time
for _ in range(2):
    try:
        print("importing", flush=True)
        sys.stdin.readline()
        time.sleep(0.01)
    except BaseException:
        print("swallowed", flush=True)
print("imported", flush=True)
"""
COMMAND = """
import time
from invariscope.cli.signals import end_on_signals
end_on_signals()
import careless
for _ in range(200):
    time.sleep(0.05)
print("went on", flush=True)
"""


def heed_signals():
    """Undo what `nohup` and jobs in the background of a shell do."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def importing(tmp_path):
    (tmp_path / "careless.py").write_text(CARELESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_signals,
    )  # fmt: skip
    assert process.stdout.readline() == "importing\n"
    with process:
        yield process
        process.kill()


def finish(process) -> str:
    return process.communicate("\n\n", timeout=60)[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_during_an_import_takes_effect_after_it(importing, number, code):
    importing.send_signal(number)
    assert finish(importing) == "importing\nimported\n"
    assert importing.returncode == code


def test_ctrl_c_during_an_import_takes_effect_after_it(importing):
    importing.send_signal(signal.SIGINT)
    printed, complaint = importing.communicate("\n\n", timeout=60)
    assert printed == "importing\nimported\n"
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    assert "careless" not in complaint.splitlines()[-2]


def test_a_second_signal_ends_the_import(importing):
    importing.send_signal(signal.SIGTERM)
    for _ in range(100):
        importing.send_signal(signal.SIGTERM)
        try:
            importing.wait(0.02)
            break
        except subprocess.TimeoutExpired:
            continue
    assert importing.wait(10) == -signal.SIGTERM
