"""Run cells: one in this process, or several, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.lab.recipes.archive import lacks_weights
from invariscope.lab.recipes.cells import Cell
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.stopping import ending, parent_named
from invariscope.lab.recipes.store import LOG, MadeMeanwhileError, Store

TAIL = 12
PAUSE_S = 0.05


def run_cell(
    store: Store,
    cell: Cell,
    *,
    threads: int,
    log: Callable[[str], None],
    device: str = "cpu",
    patience_s: float = 0.0,
) -> bool:
    """Run one cell in this process unless it is finished, and return whether it ran.

    A training cell whose weights are not in the archive runs again only if the plan has an unfinished cell
    that needs them.

    Args:
        store, cell: the store, and the cell to run.
        threads, device: number of threads, and the device.
        log: called with one line at a time.
        patience_s: seconds to wait for another process that is running the cell.
    Raises:
        ValueError: a needed cell is unfinished or damaged.
        BusyError: another process is running the cell.
        OSError: the cell cannot be written.
    """
    if cell not in unfinished(store, _with_dependants(store, cell), log):
        return False
    inputs = {need: _input(store, store.plan[need], cell) for need in cell.needs}
    import torch

    torch.set_num_threads(threads)
    from safetensors import SafetensorError

    try:
        with store.making(cell, threads, device=device, patience_s=patience_s) as (folder, kept):
            cell.options.run(CellContext(folder, kept, inputs, store.data_dir, log, device))
    except MadeMeanwhileError:
        return False
    except SafetensorError as error:  # also raised if the disk is full
        raise OSError(f"{cell.name} cannot be written: {error}") from error
    return True


def unfinished(store: Store, cells: Sequence[Cell], log: Callable[[str], None]) -> list[Cell]:
    """Return the cells that still have to run, in the given order, in which needed cells come first.

    A finished network without its weights is included only if one of these cells needs it. Damaged cells are
    deleted.
    """
    found: list[Cell] = []
    needed: set[str] = set()
    for cell in reversed(cells):
        known = _known(store, cell, log)
        if known is None or (lacks_weights(known) and cell.name in needed):
            found.append(cell)
            needed |= set(cell.needs)
    return found[::-1]


def _known(store: Store, cell: Cell, log: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the manifest of a finished cell; a damaged cell is deleted and looked up in the archive."""
    try:
        return store.manifest(cell)
    except ValueError as error:
        log(f"{cell.name} is damaged and not used: {error}")
        store.remove(cell)
        return store.manifest(cell)


def _with_dependants(store: Store, cell: Cell) -> list[Cell]:
    """Return the cell and those that need it, directly or indirectly, in the order of the plan."""
    names = {cell.name}
    for other in store.plan.cells:  # needed cells come first
        if names & set(other.needs):
            names.add(other.name)
    return [other for other in store.plan.cells if other.name in names]


def _input(store: Store, need: Cell, cell: Cell) -> Path:
    try:
        known = store.manifest(need)
    except ValueError as error:
        raise ValueError(
            f"{cell.name} needs {need.name}, which is damaged ({error}): run it again"
        ) from error
    if known is None:
        raise ValueError(f"{cell.name} needs {need.name}, which is not finished: run it first")
    if lacks_weights(known):
        raise ValueError(f"{cell.name} needs {need.name}, whose weights are not archived: run it again")
    return store.folder(need)


@dataclass
class RunSummary:
    """The outcome of running several cells.

    Args:
        ran, kept: cells that ran, and cells that were already finished.
        failed: reasons by cell: the last line of its log, or the failed cell that it needs.
    """

    ran: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CellRunner:
    """Runs cells in separate processes, several at a time.

    Args:
        store: the store of the cells.
        command: the command line that runs a cell, without its name.
        jobs: number of processes at a time.
        threads: total number of threads, shared equally among the processes.
        log: called with one line at a time.
    """

    store: Store
    command: Sequence[str]
    jobs: int
    threads: int
    log: Callable[[str], None]

    def __call__(self, cells: Sequence[Cell]) -> RunSummary:
        """Run the unfinished cells, needed cells first.

        If one fails, only the cells that need it are skipped. An interruption ends the processes; finished
        cells are kept.

        Raises:
            FileNotFoundError: the data of a cell is missing.
            OSError: the output folder cannot be written.
        """
        waiting = unfinished(self.store, cells, self.log)
        outcome = self.run(waiting)
        outcome.kept += [cell.name for cell in cells if cell not in waiting]
        return outcome

    def run(self, cells: Sequence[Cell]) -> RunSummary:
        """Run all of these cells, finished or not."""
        outcome, waiting, total = RunSummary(), list(cells), len(cells)
        running: dict[str, CellProcess] = {}
        with ending(running):
            while waiting or running:
                waiting = self._start(waiting, running, outcome, total)
                self._collect(running, outcome)
                time.sleep(PAUSE_S if running else 0)
        return outcome

    @property
    def share(self) -> int:
        """Number of threads per process."""
        return max(1, self.threads // self.jobs)

    def _start(
        self, waiting: list[Cell], running: dict[str, CellProcess], outcome: RunSummary, total: int
    ) -> list[Cell]:
        """Start ready cells while fewer than `jobs` processes are running; return the cells still waiting."""
        left, open_names = [], {cell.name for cell in waiting} | set(running)
        for cell in waiting:
            broken = [need for need in cell.needs if need in outcome.failed]
            if broken:
                outcome.failed[cell.name] = f"needs {broken[0]}, which failed"
                self.log(f"skipped: {cell.name} needs {broken[0]}, which failed")
            elif len(running) < self.jobs and not open_names & set(cell.needs):
                done = len(outcome.ran) + len(outcome.failed) + len(running)
                self.log(f"[{done + 1}/{total}] {cell.name}")
                running[cell.name] = CellProcess.start(self.store, cell, self.command, self.share)
            else:
                left.append(cell)
        return left

    def _collect(self, running: dict[str, CellProcess], outcome: RunSummary) -> None:
        for name, started in list(running.items()):
            if (failure := started.failure(self.log)) is None:
                continue
            del running[name]
            if failure:
                outcome.failed[name] = failure
            else:
                outcome.ran.append(name)


@dataclass(frozen=True)
class CellProcess:
    """A cell that runs in a process of its own.

    Args:
        store, cell: the cell, and its store.
        process: the process.
        since: when it was started.
    """

    store: Store
    cell: Cell
    process: subprocess.Popen
    since: float

    @classmethod
    def start(cls, store: Store, cell: Cell, command: Sequence[str], threads: int) -> CellProcess:
        """Start the process of a cell; it ends when this process does.

        Args:
            store: the store of the cell.
            cell: a cell whose needed cells are finished.
            command: the command line that runs a cell, without its name.
            threads: number of threads.
        Raises:
            OSError: the output folder cannot be written.
        """
        folder = store.scratch(cell)
        folder.mkdir(parents=True, exist_ok=True)
        share = str(threads)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), share)
        with (folder / LOG).open("w") as log:
            process = subprocess.Popen(
                [*command, "--cell", cell.name, "--threads", share],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **limits, **parent_named()},
                start_new_session=True,  # Ctrl-C reaches only this process, which then ends the cells
            )
        return cls(store, cell, process, time.perf_counter())

    def failure(self, report: Callable[[str], None]) -> str | None:
        """Return None while the process runs, then why the cell failed; "" if it has finished.

        Args:
            report: called with a line about the end of the process.
        """
        if (code := self.process.poll()) is None:
            return None
        if code == 0:
            report(f"{self.cell.name}: done in {time.perf_counter() - self.since:.0f} s")
            return ""
        lines = tail(self.store.scratch(self.cell) / LOG)
        report(f"{self.cell.name} failed (code {code}):" + "".join(f"\n    {line}" for line in lines))
        return lines[-1] if lines else f"ended with code {code}"


def tail(log: Path, count: int = TAIL) -> list[str]:
    """Return the last lines of a log; none if there is no log."""
    try:
        return log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-count:]
    except OSError:
        return []


def own_command() -> list[str]:
    """Return the command line that starts this program, without importing from the working folder."""
    return [sys.executable, "-P", "-m", "invariscope"]
