"""Running cells: one in this process, or many, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.recipes.cells import Cell
from invariscope.recipes.kinds import Workshop
from invariscope.recipes.store import LOG, Store

TAIL = 12
_PAUSE = 0.05


def run_cell(store: Store, cell: Cell, *, threads: int, log: Callable[[str], None]) -> bool:
    """Runs one cell here, unless it is finished; says whether it ran.

    Raises:
        ValueError: a cell that it needs is not finished, or damaged.
        BusyError: another process is running it.
        OSError: it cannot be written.
    """
    if _finished(store, cell, log):
        return False
    inputs = {need: _input(store, store.plan[need], cell) for need in cell.needs}
    import torch

    torch.set_num_threads(threads)
    from safetensors import SafetensorError

    try:
        with store.making(cell, threads) as (folder, kept):
            cell.options.run(Workshop(folder, kept, inputs, store.data_dir, log))
    except SafetensorError as error:  # its word for a full disk, too
        raise OSError(f"{cell.name} cannot be written: {error}") from error
    return True


def _finished(store: Store, cell: Cell, log: Callable[[str], None]) -> bool:
    """Whether the cell is there and whole; one that is damaged is taken away."""
    try:
        return store.manifest(cell) is not None
    except ValueError as error:
        log(f"{cell.name} is damaged ({error}): it is run again")
        store.remove(cell)
        return False


def _input(store: Store, need: Cell, cell: Cell) -> Path:
    try:
        known = store.manifest(need)
    except ValueError as error:
        raise ValueError(
            f"{cell.name} needs {need.name}, which is damaged ({error}): run that again"
        ) from error
    if known is None:
        raise ValueError(f"{cell.name} needs {need.name}, which is not finished: run that first")
    return store.folder(need)


@dataclass
class Outcome:
    """What became of the cells of one call.

    Args:
        ran, kept: cells that were run, and that were finished before.
        failed: cell to the reason: the last line of its log, or the cell that it needed.
    """

    ran: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Runs cells as processes of their own, as many at a time as asked for.

    Args:
        store: where they go.
        command: the words that run a cell, to which its name is added.
        jobs: processes at a time.
        threads: of all processes together; each gets an equal share.
        log: told what happens, a line at a time.
    """

    store: Store
    command: Sequence[str]
    jobs: int
    threads: int
    log: Callable[[str], None]

    def __call__(self, cells: Sequence[Cell]) -> Outcome:
        """Runs those that are not finished, in an order in which needs come first.

        One that fails does not stop the others, only those that need it. An interruption ends the
        processes; finished cells stay.

        Raises:
            FileNotFoundError: the data of a cell is not there.
            OSError: the output folder cannot be written.
        """
        outcome = Outcome()
        waiting = [cell for cell in cells if not self._is_there(cell, outcome)]
        total = len(waiting)
        running: dict[str, _Process] = {}
        with _ended(running):
            while waiting or running:
                waiting = self._start(waiting, running, outcome, total)
                self._collect(running, outcome)
                time.sleep(_PAUSE if running else 0)
        return outcome

    @property
    def share(self) -> int:
        """Threads of one process."""
        return max(1, self.threads // self.jobs)

    def _is_there(self, cell: Cell, outcome: Outcome) -> bool:
        there = _finished(self.store, cell, self.log)
        if there:
            outcome.kept.append(cell.name)
        return there

    def _start(
        self, waiting: list[Cell], running: dict[str, _Process], outcome: Outcome, total: int
    ) -> list[Cell]:
        """Starts what is ready while there is room; returns what still waits."""
        left, open_names = [], {cell.name for cell in waiting} | set(running)
        for cell in waiting:
            broken = [need for need in cell.needs if need in outcome.failed]
            if broken:
                outcome.failed[cell.name] = f"needs {broken[0]}, which failed"
                self.log(f"left out: {cell.name} needs {broken[0]}, which failed")
            elif len(running) < self.jobs and not open_names & set(cell.needs):
                done = len(outcome.ran) + len(outcome.failed) + len(running)
                self.log(f"[{done + 1}/{total}] {cell.name}")
                running[cell.name] = self._process(cell)
            else:
                left.append(cell)
        return left

    def _process(self, cell: Cell) -> _Process:
        folder = self.store.scratch(cell)
        folder.mkdir(parents=True, exist_ok=True)
        share = str(self.share)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), share)
        with (folder / LOG).open("w") as log:
            process = subprocess.Popen(
                [*self.command, "--cell", cell.name, "--threads", share],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **limits},
                start_new_session=True,  # Ctrl-C reaches this process, which ends its own
            )
        return _Process(process, folder / LOG, time.perf_counter())

    def _collect(self, running: dict[str, _Process], outcome: Outcome) -> None:
        for name, started in list(running.items()):
            if (code := started.process.poll()) is None:
                continue
            del running[name]
            if code == 0:
                outcome.ran.append(name)
                self.log(f"{name}: done in {time.perf_counter() - started.since:.0f} s")
                continue
            lines = tail(started.log)
            outcome.failed[name] = lines[-1] if lines else f"ended with code {code}"
            self.log(f"{name} failed (code {code}):" + "".join(f"\n    {line}" for line in lines))


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen
    log: Path
    since: float


@contextmanager
def _ended(running: dict[str, Any]) -> Iterator[None]:
    """No process outlives the block."""
    try:
        yield
    finally:
        for started in running.values():
            started.process.terminate()
        for started in running.values():
            started.process.wait()


def tail(log: Path, count: int = TAIL) -> list[str]:
    """The last lines of a log; none where there is no log."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-count:]
    except OSError:
        return []


def own_command() -> list[str]:
    """The words that start this program."""
    return [sys.executable, "-m", "invariscope"]
