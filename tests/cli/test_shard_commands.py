"""`measure --shard` and `merge`: the numbers of one command, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import invariscope as iv

MEASURE = ("measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--by-class", "--no-progress")


def test_merged_shards_are_the_result_of_one_command(invoke):
    assert invoke(*MEASURE, "--out", "whole").exit_code == 0
    for k in range(3):
        done = invoke(*MEASURE, "--shard", f"{k}/3")
        assert done.exit_code == 0, done.output
        assert f"shard {k} of 3" in done.stdout
        assert "invariscope merge shards" in done.stdout
    done = invoke("merge", "shards")
    assert done.exit_code == 0, done.output
    assert "Normalized variance" in done.stdout
    found, expected = iv.load("run"), iv.load("whole")
    for column in ("value", "ci_low", "ci_high", "null"):
        np.testing.assert_allclose(found.table[column], expected.table[column], rtol=1e-5)
    assert found.provenance["model"] == expected.provenance["model"]
    assert Path("run/report.html").exists()
    again = invoke("merge", "shards/shard-2", "shards/shard-0", "shards/shard-1", "--out", "again")
    assert again.exit_code == 0, again.output
    assert iv.load("again").table.equals(found.table)


def test_shards_of_a_slurm_array_take_its_numbers(invoke, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    done = invoke(*MEASURE, "--shard", "slurm", "--out", "parts")
    assert done.exit_code == 0, done.output
    assert Path("parts/shard-1/shard.json").exists()


def test_missing_shards_used_folders_and_wrong_numbers_are_errors(invoke):
    assert invoke(*MEASURE, "--shard", "0/2").exit_code == 0
    missing = invoke("merge", "shards")
    assert missing.exit_code == 2
    assert "shard 1 of 2 is missing" in missing.output
    assert not Path("run").exists()
    used = invoke(*MEASURE, "--shard", "0/2")
    assert used.exit_code == 2
    assert "a saved shard" in used.output
    for text in ("2/2", "two", "1"):
        wrong = invoke(*MEASURE, "--shard", text)
        assert wrong.exit_code == 2, wrong.output
        assert "shard must be" in wrong.output
    nothing = invoke("merge", "empty")
    assert nothing.exit_code == 2
    assert "no shard.json in empty" in nothing.output
