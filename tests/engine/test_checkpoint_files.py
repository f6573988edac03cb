"""When checkpoints are written, and what happens if they cannot be written."""

from __future__ import annotations

import signal
import threading
import warnings

import pytest
from resumed import Stopped, after, interrupted, measured, same

import invariscope as iv
from invariscope.engine import checkpoint, walk
from invariscope.engine.shielding import shielded

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sums"


@pytest.fixture
def writes(monkeypatch):
    """The numbers of samples in the sums at each write."""
    seen: list[int] = []
    original = checkpoint.Checkpoint.write

    def counted(self, run, position):
        seen.append(run.samples)
        original(self, run, position)

    monkeypatch.setattr(checkpoint.Checkpoint, "write", counted)
    return seen


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by ten seconds per block."""
    now = [0.0]
    original = walk._Loop._block

    def slow(self, *given):
        original(self, *given)
        now[0] += 10.0

    monkeypatch.setattr(walk._Loop, "_block", slow)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])


# Intervals


@pytest.mark.parametrize(
    ("every", "expected"),
    [(0, [16, 32, 48, 64, 80, 96, 112, 128]), (20, [32, 64, 96, 128]), (30.0, [48, 96]), (1e6, [])],
)
def test_checkpoints_are_written_at_the_given_interval(every, expected, file, writes, clock):
    measured(checkpoint=file, checkpoint_every=every)
    assert writes == expected
    assert not file.exists()


def test_the_default_is_30_seconds(file, writes, clock):
    measured(checkpoint=file)
    assert writes == [48, 96]


@pytest.mark.parametrize("every", [-1, float("nan"), float("inf"), "often", True, None])
def test_an_impossible_interval_is_refused(every, file):
    with pytest.raises(ValueError, match="checkpoint_every must be a number of seconds"):
        measured(checkpoint=file, checkpoint_every=every)


@pytest.mark.parametrize("wrong", [True, 5, ["run.ckpt"]])
def test_what_is_no_path_is_refused(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="checkpoint must be the path of a file"):
        measured(checkpoint=wrong)
    assert not list(tmp_path.iterdir())


def test_an_interval_without_a_checkpoint_is_refused():
    with pytest.raises(ValueError, match="pass checkpoint= too"):
        measured(checkpoint_every=5)


# Exceptions and signals


def test_an_exception_between_two_blocks_saves_everything(file, writes):
    interrupted(file, 80)
    assert writes == [80]


def test_an_exception_within_a_block_keeps_the_last_complete_state(file, monkeypatch):
    original = walk._Loop._forward
    blocks = []

    def failing(self, *given):
        blocks.append(0)
        original(self, *given)
        if len(blocks) == 4:
            raise RuntimeError("within a block")  # its responses have been added to the sums

    with monkeypatch.context() as patch:
        patch.setattr(walk._Loop, "_forward", failing)
        patch.setattr(checkpoint.Checkpoint, "due", lambda self: len(blocks) == 2)
        with pytest.raises(RuntimeError, match="within a block"):
            measured(checkpoint=file)
    assert len(checkpoint.load(file)[0]["states"]) > 0
    assert checkpoint.load(file)[0]["samples"] == 32
    same(measured(checkpoint=file), measured())


def raising(number: int, at: int, monkeypatch) -> None:
    """Send a signal to this process in the middle of a block."""
    original = walk._Loop._forward
    blocks = []

    def signalling(self, *given):
        blocks.append(0)
        if len(blocks) == at:
            signal.raise_signal(number)
        original(self, *given)

    monkeypatch.setattr(walk._Loop, "_forward", signalling)


def test_ctrl_c_takes_effect_after_the_block(file, writes, monkeypatch):
    expected = measured()
    with monkeypatch.context() as patch:
        raising(signal.SIGINT, 3, patch)
        with pytest.raises(KeyboardInterrupt):
            measured(checkpoint=file)
    assert writes == [48]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same(measured(checkpoint=file), expected)


def test_a_second_signal_takes_effect_at_once():
    done = []

    def twice() -> None:
        with shielded():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert done == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_is_not_lost_if_the_context_fails():
    def failing() -> None:
        with shielded():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt):
        failing()


def test_signals_are_left_alone_in_other_threads(file):
    found = []
    thread = threading.Thread(target=lambda: found.append(measured(checkpoint=file, checkpoint_every=0)))
    thread.start()
    thread.join()
    same(found[0], measured())


def test_sigterm_on_the_command_line_saves_the_sums(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from invariscope.cli.app import app
    from invariscope.cli.signals import end_on_signals

    monkeypatch.chdir(tmp_path)
    arguments = ["measure", "zoo:simple_conv", "mnist_subset", "-t", "quarter_turns", "--samples", "64"]
    arguments += ["--batch-size", "64", "--checkpoint-every", "1000", "--layers", "conv*", "--checkpoint"]
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    end_on_signals()  # as in `invariscope.cli.main`
    try:
        with monkeypatch.context() as patch:
            raising(signal.SIGTERM, 3, patch)
            killed = CliRunner().invoke(app, [*arguments, "sums", "--out", "killed"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert killed.exit_code == 128 + signal.SIGTERM, killed.output
    assert "terminated: no result was written; the same command resumes from sums" in killed.output
    assert [path.name for path in tmp_path.iterdir()] == ["sums"]
    assert checkpoint.load(tmp_path / "sums")[0]["samples"] == 48
    for name, file in {"resumed": "sums", "whole": "other"}.items():
        assert CliRunner().invoke(app, [*arguments, file, "--out", name]).exit_code == 0
    same(iv.load(tmp_path / "resumed"), iv.load(tmp_path / "whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed", "whole"]


# Failing writes


def full(*given, **more):
    raise OSError(28, "No space left on device")


def test_a_failing_write_warns_once_and_the_measurement_goes_on(file, monkeypatch):
    expected = measured()
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.warns(
        UserWarning, match="cannot be written .No space left on device.: an interruption"
    ) as met:
        found = measured(checkpoint=file, checkpoint_every=0)
    assert len(met) == 1
    same(found, expected)
    assert any("No space left on device" in note for note in found.provenance["notes"])
    assert list(file.parent.iterdir()) == []


def test_a_failing_write_keeps_the_previous_one(file, monkeypatch):
    expected = measured()
    original = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: "full" if file.exists() else original(*given))
    with pytest.warns(UserWarning, match="full"), pytest.raises(Stopped):
        measured(checkpoint=file, checkpoint_every=0, progress=after(90))
    assert checkpoint.load(file)[0]["samples"] == 16
    monkeypatch.undo()
    same(measured(checkpoint=file), expected)


def test_a_folder_that_becomes_a_file_does_not_end_the_measurement(tmp_path):
    folder = tmp_path / "made" / "here"

    def replaced(done, total):
        if done == 32:
            (folder / "sums").unlink()
            folder.rmdir()
            folder.write_text("not a folder")

    with pytest.warns(UserWarning, match="cannot be written"):
        found = measured(checkpoint=folder / "sums", checkpoint_every=0, progress=replaced)
    same(found, measured())


def test_a_removed_folder_is_made_again(tmp_path):
    folder = tmp_path / "made"

    def removed(done, total):
        if done == 32:
            (folder / "sums").unlink()
            folder.rmdir()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(measured(checkpoint=folder / "sums", checkpoint_every=0, progress=removed), measured())


@pytest.mark.parametrize("options", [{}, {"baseline": "random", "draws": 2}, {"shard": (0, 2)}])
def test_an_unwritable_place_is_found_before_the_walk(options, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(walk._Loop, "_block", lambda *given: pytest.fail("forwarded"))
    with pytest.raises(OSError, match=r"checkpoint='.*file/sums.*' cannot be written \(.*\); pass the path"):
        measured(checkpoint=tmp_path / "file" / "sums", **options)


def test_what_a_killed_run_left_is_removed(file):
    left = file.with_name(".sums.scratch-1-0")
    left.mkdir()
    (left / ".tmp1a2b").write_bytes(b"half of a checkpoint")
    measured(checkpoint=file)
    assert list(file.parent.iterdir()) == []


def test_passes_that_cannot_be_kept_do_not_end_the_measurement(file, monkeypatch):
    options = {"baseline": "random", "draws": 2}
    expected = measured(**options)
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.warns(UserWarning, match=r"sums.passes cannot be written") as met:
        found = measured(checkpoint=file, **options)
    assert len(met) == 1
    same(found, expected)
