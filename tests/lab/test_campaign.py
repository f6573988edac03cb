"""A campaign, stopped, killed and resumed: everything is run once, and the archive is whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invariscope.lab import campaign, recipes
from invariscope.lab.log import Log
from invariscope.lab.recipes import Archive

COMMAND = (sys.executable, "-m", "invariscope.lab.campaign")
NAMES = ["net", "nv/32", "nv/48"]


@pytest.fixture
def known_costs(monkeypatch) -> None:
    """Every cell is said to take a minute, without timing any."""
    monkeypatch.setattr(recipes, "estimated", lambda store, cells, **_: {cell.name: 60.0 for cell in cells})


@pytest.fixture
def in_process(monkeypatch, known_costs) -> list[str]:
    """Cells run in this process; the names of those that were."""
    ran: list[str] = []

    def start(store, cell, command, threads):
        ran.append(cell.name)
        recipes.run_cell(store, cell, threads=1, log=lambda text: None)
        return Ended(store, cell)

    monkeypatch.setattr(recipes.CellProcess, "start", start)
    return ran


class Ended(recipes.CellProcess):
    """A cell that has ended by itself."""

    def __init__(self, store, cell, reason: str = "") -> None:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        super().__init__(store, cell, process, 0.0)
        object.__setattr__(self, "reason", reason)

    def failure(self, report):
        return self.reason


def call(root: Path, steps: Path, *more: str) -> str:
    done = CliRunner().invoke(app(), ["--root", str(root), "--steps", str(steps), *more])
    assert done.exit_code == 0, done.output
    return done.output


def app():
    import typer

    made = typer.Typer()
    made.command()(campaign.main)
    return made


def logged(root: Path) -> list[str]:
    return [line["name"] for line in Log(root / "log.jsonl").lines() if "failed" not in line]


def test_everything_is_run_once_archived_and_summed_up(steps, tmp_path, in_process):
    root = tmp_path / "reproductions"
    listed = call(root, steps(), "--list", "--hours", "0.04")
    assert "3 to run" not in listed
    assert "1 do not fit" in listed
    said = call(root, steps())
    assert in_process == logged(root) == NAMES
    assert "3 of 3 cells are finished; 0 are left" in said
    call(root, steps())
    assert in_process == NAMES
    assert not list((root / ".work").rglob("cell.json"))
    assert call(root, steps(), "--list").count("finished") == 3
    call(root, steps(), "--summary")
    page = (root / "README.md").read_text()
    assert "| 1 | tiny | `nv/*` | 3 of 3 |" in page
    assert "Nothing." in page
    texts = [page, (root / "log.jsonl").read_text(), (root / "data.json").read_text()]
    assert not any(str(tmp_path) in text for text in texts)


def test_a_campaign_that_ends_deletes_its_own_cells_only(steps, tmp_path, in_process):
    other = tmp_path / "reproductions" / ".work" / "cells" / "net_of_another-0123456789ab" / "cell.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    assert "0 are left" in call(tmp_path / "reproductions", steps())
    assert list((tmp_path / "reproductions" / ".work").rglob("cell.json")) == [other]


def test_the_summary_lists_what_is_missing_with_its_cost(steps, tmp_path, in_process):
    root = tmp_path / "reproductions"
    call(root, steps(), "--list")
    call(root, steps(cells='["nv/32"]'))
    assert in_process == ["net", "nv/32"]
    call(root, steps(), "--summary")
    page = (root / "README.md").read_text()
    assert "| tiny: nv/48 | 1 | 1.0 | not run yet |" in page
    assert "2 of 3" in page


def test_a_network_without_archived_weights_is_trained_again_only_when_needed(
    steps, tmp_path, in_process, monkeypatch
):
    monkeypatch.setattr(
        campaign, "Archive", lambda root, report: Archive(root, weights_bytes=0, report=report)
    )
    root = tmp_path / "reproductions"
    path = steps(cells='["nv/32"]')
    call(root, path)
    call(root, path)
    assert in_process == ["net", "nv/32"]
    call(root, steps(cells='["nv/*"]'))
    assert in_process == ["net", "nv/32", "net", "nv/48"]
    assert logged(root) == in_process


def test_a_cell_that_fails_is_logged_and_the_others_go_on(steps, tmp_path, known_costs, monkeypatch):
    def start(store, cell, command, threads):
        if cell.name == "nv/32":
            return Ended(store, cell, f"error: no file {tmp_path}/data/images")
        recipes.run_cell(store, cell, threads=1, log=lambda text: None)
        return Ended(store, cell)

    monkeypatch.setattr(recipes.CellProcess, "start", start)
    root = tmp_path / "reproductions"
    done = CliRunner().invoke(app(), ["--root", str(root), "--steps", str(steps())])
    assert done.exit_code == 1
    assert "2 of 3 cells are finished; 0 are left, about 0.0 core-hours; 1 failed" in done.output
    assert logged(root) == ["net", "nv/48"]
    failed = [line for line in Log(root / "log.jsonl").lines() if "failed" in line]
    assert [(line["name"], line["failed"]) for line in failed] == [("nv/32", "error: no file …/images")]


def test_several_cells_run_at_a_time_but_none_before_those_that_it_needs(
    steps, tmp_path, known_costs, monkeypatch
):
    running: list[str] = []
    together: list[list[str]] = []

    class Slow(Ended):
        def failure(self, report):
            """The third question finds the cell at its end."""
            object.__setattr__(self, "asked", getattr(self, "asked", 0) + 1)
            if self.asked < 3:
                return None
            running.remove(self.cell.name)
            recipes.run_cell(self.store, self.cell, threads=1, log=lambda text: None)
            return ""

    def start(store, cell, command, threads):
        running.append(cell.name)
        together.append(list(running))
        return Slow(store, cell)

    monkeypatch.setattr(recipes.CellProcess, "start", start)
    root = tmp_path / "reproductions"
    call(root, steps(), "--jobs", "2")
    assert together == [["net"], ["nv/32"], ["nv/32", "nv/48"]]
    assert logged(root) == NAMES


def test_no_cell_is_started_that_ends_too_late_even_if_several_run_at_a_time(steps, tmp_path, in_process):
    root = tmp_path / "reproductions"
    call(root, steps(), "--jobs", "9", "--hours", "0.015")  # 54 s; cells are said to take a minute
    assert in_process == []


def test_the_cells_of_another_machine_are_added_once_with_their_log_lines(steps, tmp_path, in_process):
    here, there = tmp_path / "here", tmp_path / "there"
    call(here, steps(cells='["nv/32"]'))
    call(there, steps())
    keys = {line["name"]: key for key, line in Log(there / "log.jsonl").finished().items()}
    net, own, other = (keys[name] for name in NAMES)
    Archive(there).place(net).write_bytes(b"cut short")  # of no matter: known here
    before = Archive(here).place(own).read_bytes()
    assert "1 cells added" in call(here, steps(), "--merge", str(there))
    assert sorted(logged(here)) == sorted(NAMES)
    assert Archive(here).place(own).read_bytes() == before
    assert Archive(here).place(other).read_bytes() == Archive(there).place(other).read_bytes()
    assert call(here, steps(), "--list").count("finished") == 3
    assert "0 cells added" in call(here, steps(), "--merge", str(there))
    assert sorted(logged(here)) == sorted(NAMES)


def test_a_folder_that_is_no_root_cannot_be_merged(steps, tmp_path, known_costs):
    options = ["--root", str(tmp_path / "here"), "--steps", str(steps()), "--merge", str(tmp_path)]
    done = CliRunner().invoke(app(), options)
    assert done.exit_code == 2
    assert "it has no folder cells" in done.output


def test_another_campaign_in_the_same_folder_is_refused(steps, tmp_path, known_costs):
    root = tmp_path / "reproductions"
    with campaign._locked(root / ".work"):
        done = CliRunner().invoke(app(), ["--root", str(root), "--steps", str(steps())])
    assert done.exit_code == 2
    assert "another campaign is running" in done.output


@pytest.fixture
def long_campaign(steps, tmp_path, known_costs) -> tuple[Path, list[str]]:
    """(root, command) of a campaign whose training takes some seconds; its costs are known."""
    root, path = tmp_path / "reproductions", steps(("epochs = 3", "epochs = 60"), cells='["nv/32"]')
    call(root, path, "--list")
    return root, [*COMMAND, "--root", str(root), "--steps", str(path)]


def epochs(root: Path) -> int:
    """Epochs that are done of the training under way; 0: none, or it is not under way."""
    from safetensors import safe_open

    for path in (root / ".work" / "cells").glob(".net-*/kept/training.safetensors"):
        with safe_open(path, framework="pt") as file:
            return len(json.loads(file.metadata()["document"])["history"])
    return 0


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for too long"
        time.sleep(0.02)


def children(process: subprocess.Popen) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def started(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a cell ends with its campaign on Linux")
@pytest.mark.slow  # run by `make kills`
def test_a_campaign_that_is_killed_three_times_trains_once_to_the_end(long_campaign, tmp_path):
    root, command = long_campaign
    draws, reached = random.Random(3), 0
    for _ in range(3):
        with started(command) as process:
            goal = reached + draws.randint(1, 12)
            until(lambda goal=goal: epochs(root) >= goal)
            time.sleep(draws.uniform(0, 0.1))
            orphans = children(process)
            process.kill()
        assert orphans
        until(lambda orphans=orphans: not any(map(lives, orphans)), 15)
        assert epochs(root) >= reached
        reached = epochs(root)
    assert logged(root) == []
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert logged(root) == ["net", "nv/32"]
    archive = Archive(root)
    known = [archive.manifest(line["key"]) for line in Log(root / "log.jsonl").lines()]
    assert all(known)
    assert sorted(path.suffix for path in (root / "cells").iterdir()) == [".zip", ".zip"]
    recipe = recipes.load(str(tmp_path / "tiny.toml"))
    whole = recipes.Store(tmp_path / "whole", recipe)
    recipes.run_cell(whole, recipe["net"], threads=1, log=lambda text: None)
    assert archive.get(whole.key(recipe["net"]), tmp_path / "net")
    weights = "network/weights.safetensors"
    assert (tmp_path / "net" / weights).read_bytes() == (whole.folder(recipe["net"]) / weights).read_bytes()


def test_sigterm_stops_within_seconds_and_keeps_the_place(long_campaign):
    root, command = long_campaign
    with started(command) as process:
        until(lambda: epochs(root) >= 1)
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        said = process.stderr.read()
    assert process.returncode == 0
    assert time.monotonic() - before < 15
    assert "stopped; the same command resumes" in said
    assert "0 of 2 cells are finished; 2 are left, about 0.0 core-hours; 0 failed" in said
    assert epochs(root) >= 1
    assert logged(root) == []
