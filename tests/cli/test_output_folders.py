"""Where `--out` can be: found out before anything is measured, and never at the cost of a finished result."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import invariscope as iv
from invariscope.common.publishing import claimed

MEASURE = ("measure", "net.py:make", "digits.npz", "-t", "quarter_turns", "--no-progress", "--samples", "16")
TRAIN = ("train", "simple_conv(filters=2)", "digits.npz", "--epochs", "1")
WRITERS = {
    "measure": MEASURE,
    "shard": (*MEASURE, "--shard", "0/2"),
    "curve": ("curve", "net.py:make", "digits.npz", "--radii", "2"),
    "merge": ("merge", "nowhere"),
    "train": ("train", "simple_conv", "nowhere.npz"),
    "reproduce": ("reproduce", str(Path(__file__).parents[1] / "recipes" / "tiny.toml")),
    "demo": ("demo",),
}
FILES = {"result.json", "maps.safetensors", "report.html"}


def names(folder: Path | str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


@pytest.fixture
def mount() -> Iterator[Callable[..., Path]]:
    """Mounts an empty disk in memory at a new folder; skips the test where that is not allowed."""
    mounted: list[str] = []

    def run(folder: Path, size: str = "64m") -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder.resolve())]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a disk in memory is not permitted here")
        mounted.append(command[-1])
        return folder

    yield run
    for path in reversed(mounted):
        subprocess.run(["umount", "-l", path], check=True)


def make_read_only(folder: Path) -> None:
    """Let nobody write to a mounted disk, not even root."""
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder.resolve())], check=True)


def test_a_link_is_written_through(invoke):
    Path("link").symlink_to("real")
    for overwrite in ((), ("--overwrite",)):  # while its target is missing, and when it exists
        done = invoke(*MEASURE, "--out", "link", *overwrite)
        assert done.exit_code == 0, done.output
        assert (Path("link").is_symlink(), names("real")) == (True, FILES)
    assert "already holds a saved result" in invoke(*MEASURE, "--out", "real").stderr


def test_a_network_and_its_unfinished_state_are_written_through_a_link(invoke):
    Path("link").symlink_to("real")
    done = invoke(*TRAIN, "--out", "link", "--monitor", "--monitor-transform", "quarter_turns")
    assert done.exit_code == 0, done.output
    assert names("real") == {"weights.safetensors", "card.json", "monitor"}


def test_the_working_folder_is_filled_if_it_is_empty(invoke, workplace, monkeypatch):
    Path("empty").mkdir()
    inputs = ("measure", f"{workplace}/net.py:make", f"{workplace}/digits.npz", *MEASURE[3:])
    monkeypatch.chdir("empty")
    done = invoke(*inputs, "--out", ".")
    assert done.exit_code == 0, done.output
    assert names(".") == FILES
    assert "already holds a saved result" in invoke(*inputs, "--out", ".").stderr
    assert [path for path in names(workplace) if path.startswith(".")] == []


def test_a_network_is_trained_into_the_working_folder(invoke, workplace, monkeypatch):
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    done = invoke(*TRAIN[:2], workplace / "digits.npz", *TRAIN[3:], "--out", ".")
    assert done.exit_code == 0, done.output
    assert names(".") == {"weights.safetensors", "card.json"}


def test_a_mount_point_is_filled(invoke, mount):
    place = mount(Path("disk"))
    for overwrite in ((), ("--overwrite",)):
        done = invoke(*MEASURE, "--out", place, *overwrite)
        assert done.exit_code == 0, done.output
        assert names(place) == FILES
    result = iv.load(place)
    result.save(place, overwrite=True)
    assert iv.load(place).table.equals(result.table)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_another_disk_is_filled(invoke, workplace):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if os.stat(folder).st_dev == os.stat(workplace).st_dev:
            pytest.skip("/dev/shm is on the disk of the temporary folder")
        out = Path(folder) / "runs" / "run"
        for overwrite in ((), ("--overwrite",)):
            done = invoke(*MEASURE, "--out", out, *overwrite)
            assert done.exit_code == 0, done.output
            assert (names(out), names(folder), names(out.parent)) == (FILES, {"runs"}, {"run"})


@pytest.mark.parametrize("command", WRITERS)
def test_a_read_only_parent_is_found_out_at_the_start(command, fails, mount):
    make_read_only(mount(Path("disk")))
    said = fails(*WRITERS[command], "--out", "disk/run")
    if command == "reproduce":
        assert "--out disk/run cannot hold the cells" in said
        return
    out = "disk/run/shard-0" if command == "shard" else "disk/run"
    assert f"error: cannot write to {out}: Read-only file system in " in said
    assert "Choose a folder on a writable disk with enough free space." in said
    assert not Path("made").exists()  # the model has not been loaded


def test_a_folder_that_can_be_written_to_in_one_that_cannot_is_filled(invoke, mount):
    mount(Path("disk"))
    for place in (Path("disk/run"), Path("disk/net")):
        mount(place)
    make_read_only(Path("disk"))
    for place, command in (("disk/run", MEASURE), ("disk/net", TRAIN)):
        for overwrite in ((), ("--overwrite",)):
            done = invoke(*command, "--out", place, *overwrite)
            assert done.exit_code == 0, done.output
        assert not [name for name in names(place) if name.startswith(".")]
    assert names("disk/run") == FILES


@pytest.mark.parametrize(
    ("command", "out", "said"),
    [
        *((command, "pipe", "a named pipe") for command in WRITERS),
        ("measure", "file/run", "a file"),
        ("train", "file", "a file"),
        ("train", "loop", "a symbolic link"),
    ],
)
def test_what_is_in_the_way_is_found_out_at_the_start(command, out, said, fails):
    os.mkfifo("pipe")
    Path("file").write_text("precious")
    Path("loop").symlink_to("loop")
    assert f"is {said}" in fails(*WRITERS[command], "--out", out)
    assert not Path("made").exists()
    assert Path("file").read_text() == "precious"
    assert Path("pipe").is_fifo()


def test_what_is_in_the_way_of_the_training_state_is_found_out_at_the_start(fails):
    os.mkfifo("net.unfinished.safetensors")
    said = fails("train", "simple_conv", "nowhere.npz", "--out", "net")
    assert (
        "net.unfinished.safetensors, where the training state is saved, is a named pipe; move it away" in said
    )
    assert Path("net.unfinished.safetensors").is_fifo()


def test_a_page_does_not_replace_a_device(finished, fails):
    said = fails("report", finished("run"), "--out", "/dev/null", "--overwrite")
    assert "/dev/null is a device; give the name of a file with --out" in said
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("command", WRITERS)
def test_a_second_run_is_refused_at_its_start_and_names_the_first(command, fails, monkeypatch):
    monkeypatch.setattr("invariscope.lab.recipes.refuse_missing_data", lambda *arguments: None)
    out = Path("mine/shard-0" if command == "shard" else "mine")
    with claimed(out):
        said = fails(*WRITERS[command], "--out", "mine")
    assert f"error: {out} is in use by another process (process {os.getpid()}, since 20" in said
    assert "Wait until it ends, or choose another folder." in said
    assert not Path("made").exists()


@pytest.fixture
def limit(monkeypatch) -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond a size, as if the disk were full."""
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # Python would keep what fits of a module's bytecode
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_result_that_the_disk_cannot_take_is_kept_on_another(invoke, fails, mount, workplace, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(workplace))
    assert invoke(*MEASURE, "--out", "whole").exit_code == 0
    said = fails(*MEASURE, "--out", str(mount(Path("disk"), "16k") / "run"))
    assert said.startswith("error: cannot write to disk/run: ")
    assert "No space left on device" in said
    kept = Path(said.split("The result is kept in ")[1].strip().removesuffix("."))
    assert names("disk") == set()
    assert iv.load(kept).table.equals(iv.load("whole").table)


def test_a_result_that_fits_is_kept_if_its_report_does_not(invoke, fails, limit):
    assert invoke(*MEASURE, "--out", "whole").exit_code == 0
    sizes = {name: (Path("whole") / name).stat().st_size for name in FILES}
    report = sizes.pop("report.html")
    assert max(sizes.values()) < report
    limit((max(sizes.values()) + report) // 2)
    said = fails(*MEASURE, "--out", "run")
    assert "error: cannot write to run: File too large." in said
    kept = Path(said.split("The finished files are kept in ")[1].strip().removesuffix("."))
    assert iv.load(kept).table.equals(iv.load("whole").table)
    assert not Path("run").exists()


def test_a_result_stays_if_its_disk_becomes_read_only_meanwhile(fails, mount, monkeypatch):
    place = mount(Path("disk"))
    write = iv.Result.report

    def report(result, path):
        write(result, path)
        # A disk with open files cannot become read-only, but what is mounted over it can.
        subprocess.run(["mount", "--bind", str(place.resolve()), str(place.resolve())], check=True)
        make_read_only(place)

    monkeypatch.setattr(iv.Result, "report", report)
    try:
        said = fails(*MEASURE, "--out", "disk/run")
    finally:
        subprocess.run(["umount", "-l", str(place.resolve())], check=True)
    assert "error: cannot write to disk/run: Read-only file system" in said
    kept = Path(said.split("The finished files are kept in ")[1].strip().removesuffix("."))
    assert len(iv.load(kept).table) > 0


def test_a_full_disk_at_a_training_checkpoint_leaves_the_earlier_one(invoke, limit, monkeypatch):
    from invariscope.zoo import epochs

    train = (*TRAIN[:3], "--epochs", "3", "--out")
    assert invoke(*train, "whole").exit_code == 0
    walk = epochs.Loop.run

    def filled(self, epoch, optimizer):
        if epoch == 1:
            limit(100)
        return walk(self, epoch, optimizer)

    with monkeypatch.context() as patch:
        patch.setattr(epochs.Loop, "run", filled)
        done = invoke(*train, "net")
    said = done.stderr.splitlines()[-1]  # after the progress bar
    assert (done.exit_code, "Traceback" in done.output) == (2, False)
    state = Path("net.unfinished.safetensors")
    assert f"error: cannot write to {state}: " in said
    assert "File too large" in said
    assert f"The same command with --resume continues from {state}." in said
    assert not Path("net").exists()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert invoke(*train, "net", "--resume").exit_code == 0
    weights = [Path(folder, "weights.safetensors").read_bytes() for folder in ("whole", "net")]
    assert weights[0] == weights[1]
    assert not state.exists()


def test_a_result_replaces_a_shard_and_the_reverse(invoke):
    part = (*MEASURE, "--shard", "0/2", "--overwrite", "--out", ".")
    whole = (*MEASURE, "--overwrite", "--out", "shard-0")
    for command, expected in ((part, {"shard.json", "sums.safetensors"}), (whole, FILES), (part, None)):
        assert invoke(*command).exit_code == 0
        assert names("shard-0") == (expected or {"shard.json", "sums.safetensors"})


def test_curves_of_an_earlier_network_go_with_it(invoke):
    watched = ("--monitor", "--monitor-transform", "quarter_turns")
    assert invoke(*TRAIN, "--out", "net", *watched).exit_code == 0
    assert Path("net/monitor").is_dir()
    assert invoke(*TRAIN, "--out", "net", "--overwrite").exit_code == 0
    assert names("net") == {"weights.safetensors", "card.json"}
