"""The processes of torch.distributed share a measurement, and none waits for one that has ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shard_cases import assert_same, images, measured

import invariscope as iv

CASES = Path(__file__).with_name("process_cases.py")


def environment(**variables):
    """The variables of this process with one thread, and without coverage."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, sys.path))} | variables


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def started(name, folder, size=2):
    """Start processes with the variables that torchrun sets."""
    port = free_port()
    found = []
    for rank in range(size):
        named = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, str(CASES), name, str(folder)]
        found.append(
            subprocess.Popen(
                command, env=environment(**named), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    return found


def finished(processes):
    """(exit code, output) of each process."""
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_torchrun_gives_every_process_the_numbers_of_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port"]
    command += [free_port(), str(CASES), "agree", str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (iv.load(tmp_path / f"result-{rank}") for rank in (0, 1))
    assert_same(second, first, tolerance=0)
    assert first.provenance["shards"]["count"] == 2


@pytest.mark.slow
def test_a_group_of_the_user_stays_and_layers_are_named_without_ddp(tmp_path):
    assert [code for code, _ in finished(started("own_group", tmp_path))] == [0, 0]
    found = iv.load(tmp_path / "result-1")
    assert_same(found, measured(images()))


@pytest.mark.slow
def test_a_killed_process_ends_the_others_within_seconds(tmp_path):
    processes = started("killed", tmp_path)
    processes[1].communicate(timeout=240)
    ended = time.monotonic()
    output = processes[0].communicate(timeout=60)[0]
    assert time.monotonic() - ended < 15
    assert processes[1].returncode == -signal.SIGKILL
    assert processes[0].returncode == 1
    assert "another of the 2 processes has ended or lost its connection" in output


@pytest.mark.slow
def test_the_error_of_one_process_is_that_of_all(tmp_path):
    (code, output), (other_code, other_output) = finished(started("failing", tmp_path))
    assert (code, other_code) == (1, 1)
    assert "process 1 of 2 failed: ValueError: a sample is broken" in output
    assert "a sample is broken" in other_output


@pytest.mark.slow
def test_processes_with_different_data_are_refused(tmp_path):
    for code, output in finished(started("different", tmp_path)):
        assert code == 1
        assert "shard 1 does not fit shard 0: their data differ" in output
