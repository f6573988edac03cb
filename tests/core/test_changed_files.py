"""A small part of `python -m benchmarks.mutations`: changed and hostile files in processes with limits."""

from __future__ import annotations

from functools import partial

import pytest
from benchmarks.mutations.changes import CHANGES
from benchmarks.mutations.hostile import HOSTILE
from benchmarks.mutations.kinds import KINDS, Kind
from benchmarks.mutations.sandbox import DIED, FOREIGN, OTHER, REFUSED, SAME, SLOW, read
from benchmarks.mutations.trial import tried

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

OTHERS = ["result of an earlier version", ".npz, compressed", "CIFAR-10, pickle", "images", "state dict, zip"]
FORMATS = [
    ".npy that claims 8 TB",
    ".npy with a deep header",
    "IDX of 2**96 bytes",
    "CIFAR-10 pickle of shared tuples",
    "CIFAR-10 pickle, hashed",
    "CIFAR-10 pickle with a memo of 16 GB",
    "CIFAR-10 pickle that runs code",
    "state dict, hashed",
    "TOML, 2,000 deep",
    "PNG of 60,000 x 60,000 pixels",
    "a header 200,000 deep as maps.safetensors of result",
    "JSON, 500 deep as card.json of network",
]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.sealed])
def test_no_change_of_a_saved_file_passes(name, tmp_path):
    trials = tried(KINDS[name], tmp_path, changes=len(CHANGES) + 1, seed=1)
    assert [trial for trial in trials if trial.outcome != REFUSED] == []


@pytest.mark.parametrize("name", OTHERS)
def test_a_changed_file_of_another_format_gives_numbers_or_one_line(name, tmp_path):
    trials = tried(KINDS[name], tmp_path, changes=len(CHANGES), seed=1)
    assert [trial for trial in trials if trial.outcome not in (REFUSED, SAME, OTHER)] == []


@pytest.mark.parametrize("name", FORMATS)
def test_hostile_files_are_refused_in_little_time_and_memory(name, tmp_path):
    write, use = HOSTILE[name]
    write(tmp_path)
    found = read(partial(use, tmp_path))
    assert (found.outcome, found.text) == (REFUSED, found.text)


def _foreign() -> None:
    int("x")


def _endless() -> None:
    while True:
        pass


def _greedy() -> None:
    raise ValueError(len(bytearray(3 << 30)))


@pytest.mark.parametrize(
    ("work", "outcome"), [(_foreign, FOREIGN), (_greedy, FOREIGN), (_endless, SLOW), (lambda: 1, SAME)]
)
def test_the_limits_are_noticed(work, outcome):
    assert read(work, seconds=0.1).outcome == outcome


def test_a_process_that_dies_is_noticed():
    import os

    assert read(lambda: os._exit(3)).outcome == DIED


def test_another_number_is_noticed(tmp_path):
    kind = Kind(lambda at, v: (at / "a").write_bytes(bytes([v] * 9)), lambda at: (at / "a").read_bytes())
    assert {trial.outcome for trial in tried(kind, tmp_path, changes=9, seed=0)} == {OTHER}
