"""Run the cells of all recipes, claims that cost least first, and archive them: `make campaign`.

A campaign can be stopped at any time; the same command resumes it.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from invariscope.lab import recipes
from invariscope.lab.agenda import Home, planned_goals, planned_jobs, read_steps
from invariscope.lab.costs import Costs
from invariscope.lab.log import Log, failure_of, line_of
from invariscope.lab.progress import CampaignProgress, is_whole
from invariscope.lab.recipes import Archive, Cell, CellProcess, Store
from invariscope.lab.recipes.machine import check_device
from invariscope.lab.summary import agenda_table, summary

STEPS = Path(__file__).with_name("campaign.toml")
ROOT = Path("reproductions")
WORK, LOG, PAGE = ".work", "log.jsonl", "README.md"
FAILED, BAD_INPUT = 1, 2


class Stopped(KeyboardInterrupt):
    """Raised when the campaign receives SIGTERM or SIGHUP."""


@dataclass(frozen=True)
class Campaign:
    """The cells of a campaign, each run in its own process.

    Args:
        progress: tracks which cells are finished.
        log, costs: log and costs of the campaign.
        words: command-line options of `invariscope reproduce`, the same for every cell.
        jobs: number of cells at a time.
        threads: threads per cell.
        report: called with one line at a time.
    """

    progress: CampaignProgress
    log: Log
    costs: Costs
    words: Sequence[str]
    jobs: int
    threads: int
    report: Callable[[str], None]

    def run(self, hours: float = math.inf) -> None:
        """Run unfinished cells until none are left, or none of them fits into the remaining hours."""
        end = time.monotonic() + 3600 * hours
        running: dict[str, CellProcess] = {}
        self._settle()
        with recipes.ending(running):
            self._fill(running, end)
            while running:
                if self._collect(running):
                    self._fill(running, end)
                time.sleep(recipes.PAUSE_S)

    def _fill(self, running: dict[str, CellProcess], end: float) -> None:
        """Start cells until as many as allowed are running, or none is ready."""
        while len(running) < self.jobs and (key := self._next(running, end - time.monotonic())) is not None:
            home = self.progress.home(key)
            self.report(f"{len(self.progress.unfinished())} to run; now {home.cell.name} of {home.recipe}")
            running[key] = self._start(home)

    def _next(self, running: Collection[str], limit_s: float) -> str | None:
        """Return the first cell in the order that is not running and needs no unfinished one."""
        progress, unfinished = self.progress, self.progress.unfinished()
        seconds = self.costs([progress.jobs[key] for key in unfinished]) | dict.fromkeys(running, 0.0)
        ready = (key for key in unfinished if not set(progress.jobs[key].needs) & set(unfinished))
        ready = {key for key in ready if key not in running and seconds[key] <= limit_s}
        turns = progress.turns(seconds, limit_s) if ready else ()
        return next((turn.key for turn in turns if turn.key in ready), None)

    def _start(self, home: Home) -> CellProcess:
        store, cell = home.store, home.cell
        words = [*recipes.own_command(), "reproduce", home.recipe, "--scale", store.plan.scale, *self.words]
        words += ["--seeds", ",".join(map(str, store.plan.seeds))] if store.plan.seeds else []
        return recipes.CellProcess.start(store, cell, words, self.threads)

    def _collect(self, running: dict[str, CellProcess]) -> bool:
        """Archive the cells whose processes have ended; return whether any has."""
        ended = False
        for key, started in list(running.items()):
            if (failure := started.failure(self.report)) is None:
                continue
            del running[key]
            ended = True
            if failure:
                self._note_failure(started.store, started.cell, failure)
            else:
                self._keep(started.store, started.cell, again=True)
            self.progress.update(key)
        return ended

    def _settle(self) -> None:
        """Archive the cells that an earlier run left in the work folder, and update the progress."""
        for key, job in self.progress.jobs.items():
            for home in job.homes:
                if is_whole(home.store, home.cell):
                    self._keep(home.store, home.cell, again=False)
            self.progress.update(key)
        for key in self.progress.archive.make_room(self._dispensable()):
            self.progress.update(key)

    def _dispensable(self) -> set[str]:
        """Return the keys of the cells that no unfinished cell of this campaign needs."""
        jobs = self.progress.jobs
        return set(jobs).difference(*(jobs[key].needs for key in self.progress.unfinished()))

    def _keep(self, store: Store, cell: Cell, *, again: bool) -> None:
        """Archive and log a finished cell; log it a second time only if `again` is set."""
        manifest = store.manifest(cell)
        assert manifest is not None
        try:
            self.progress.archive.add(store, cell, dispensable=self._dispensable())
        except ValueError as error:
            self._note_failure(store, cell, str(error))
            return
        if again or store.key(cell) not in self.log.finished():
            self.log.add(line_of(store, cell, manifest))
        if cell.options.gives == "result":
            store.remove(cell)  # networks are kept for the measurements that need them

    def _note_failure(self, store: Store, cell: Cell, reason: str) -> None:
        self.progress.failed[store.key(cell)] = reason
        line = failure_of(store, cell, reason)
        self.report(f"{cell.name} failed: {line['failed']}")
        before = [known for known in self.log.lines() if known["key"] == line["key"]]
        if not before or before[-1].get("failed") != line["failed"]:
            self.log.add(line)


def main(
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the data sets.", show_default="$INVARISCOPE_DATA"),
    ] = None,
    root: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of archive, log and summary.")] = ROOT,
    steps: Annotated[Path, typer.Option(metavar="FILE", help="What to run.", show_default=False)] = STEPS,
    device: Annotated[str, typer.Option(metavar="cpu|cuda")] = "cpu",
    jobs: Annotated[int, typer.Option(metavar="INT", min=1, help="Cells at a time.")] = 1,
    threads: Annotated[int, typer.Option(metavar="INT", min=1, help="Threads of each cell.")] = 1,
    hours: Annotated[
        float,
        typer.Option(
            metavar="H",
            min=0,
            help="Start only cells expected to end within this many hours.",
            show_default="no limit",
        ),
    ] = math.inf,
    list_: Annotated[bool, typer.Option("--list", help="Show the agenda and exit.")] = False,
    summarize: Annotated[bool, typer.Option("--summary", help="Write README.md and exit.")] = False,
    merge: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Add the cells of another root and exit.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run or resume the campaign; stop it with Ctrl-C or SIGTERM."""
    try:
        check_device(device)
        campaign = _campaign(data_dir, root, steps, device, jobs, threads)
        if list_ or summarize:
            _show(campaign, root / PAGE if summarize else None, steps, hours)
            return
        with _locked(root / WORK), _stoppable():
            _run(campaign, hours) if merge is None else _merge(campaign, merge)
    except (ValueError, TypeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    if campaign.progress.failed:
        raise typer.Exit(FAILED)


def _campaign(
    data_dir: Path | None, root: Path, steps: Path, device: str, jobs: int, threads: int
) -> Campaign:
    work, archive = root / WORK, Archive(root, report=_say)
    planned = read_steps(steps)
    cells = planned_jobs(planned, work, data_dir, archive)
    log = Log(root / LOG)
    words = ["--out", str(work), *(["--data-dir", str(data_dir)] if data_dir else [])]
    (root / "cells").mkdir(parents=True, exist_ok=True)  # lets cells load what they need from the archive
    words += ["--archive", str(root), "--device", device]
    costs = Costs(log, root / "costs.json", threads, device, _say)
    progress = CampaignProgress(cells, planned_goals(planned, cells), archive)
    return Campaign(progress, log, costs, words, jobs, threads, _say)


def _run(campaign: Campaign, hours: float) -> None:
    try:
        campaign.run(hours)
    except KeyboardInterrupt:
        _say("stopped; the same command resumes")
    progress = campaign.progress
    unfinished = progress.unfinished()
    left = sum(campaign.costs.known(progress.jobs[key] for key in unfinished).values()) / 3600
    _say(
        f"{len(progress.jobs) - len(progress.missing())} of {len(progress.jobs)} cells are finished; "
        f"{len(unfinished)} are left, about {left:.1f} core-hours; {len(progress.failed)} failed"
    )
    if not unfinished and not progress.failed:
        _clear(campaign)


def _clear(campaign: Campaign) -> None:
    """Delete the cells of this campaign from the work folder, which others may share."""
    for home in (home for job in campaign.progress.jobs.values() for home in job.homes):
        if home.store.folder(home.cell).exists():
            home.store.remove(home.cell)


def _merge(campaign: Campaign, root: Path) -> None:
    """Add the archived cells of another root, with their log lines."""
    if not (root / "cells").is_dir():
        raise FileNotFoundError(f"{root} is no --root of a campaign: it has no folder cells")
    added, lines = campaign.progress.archive.merge(Archive(root, report=_say)), Log(root / LOG).finished()
    for key in added:
        if key in lines and key not in campaign.log.finished():
            campaign.log.add(lines[key])
    _say(f"{len(added)} cells added from {root}")


def _show(campaign: Campaign, page: Path | None, steps: Path, hours: float) -> None:
    """Write the summary to `page`, or print the agenda if `page` is None."""
    for key in campaign.progress.jobs:
        campaign.progress.update(key)
    if page is None:
        typer.echo(agenda_table(campaign.progress, campaign.costs, campaign.log, 3600 * hours))
        return
    text = summary(campaign.progress, campaign.costs, campaign.log, read_steps(steps))
    page.write_text(text, encoding="utf-8")
    typer.echo(str(page))


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a closed terminal, end the block as Ctrl-C does."""
    numbers = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    numbers = {number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN}

    def stop(number: int, frame: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Lock a work folder, so that only one campaign at a time runs in it.

    Raises:
        ValueError: another campaign is running.
    """
    work.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (work / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError("another campaign is running in this folder; stop it first") from None
        yield


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
