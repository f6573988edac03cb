"""Estimates of how long the cells of a campaign take, from the log or by timing a small part of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.common.files import write_json
from invariscope.common.reading import read_json
from invariscope.lab import recipes
from invariscope.lab.agenda import Job
from invariscope.lab.log import Log, alike
from invariscope.lab.recipes.machine import machine


@dataclass(frozen=True)
class Costs:
    """Estimated seconds per cell.

    Times from this type of machine take precedence; times from other types suffice to order the cells.

    Args:
        log: log of the campaign; the estimate is the time of the last finished cell that differs only in
            seeds.
        memory: file that stores estimates for later runs.
        threads, device: threads per cell, and the device; timing always uses the CPU.
        report: called with one line at a time.
    """

    log: Log
    memory: Path
    threads: int
    device: str
    report: Callable[[str], None]
    _failed: set[str] = field(default_factory=set, repr=False)

    def known(self, jobs: Iterable[Job]) -> dict[str, float]:
        """Return seconds by key without timing anything; infinity if unknown."""
        found = self._remembered() | self._logged()
        return {job.key: found.get(_kind(job), math.inf) for job in jobs}

    def __call__(self, jobs: Iterable[Job]) -> dict[str, float]:
        """Return seconds by key, timing one cell of each unknown kind; infinity if that fails."""
        jobs = list(jobs)
        known = self.known(jobs)
        unknown = {_kind(job): job for job in jobs if not math.isfinite(known[job.key])}
        for kind, job in unknown.items():
            if kind not in self._failed:
                self._estimate(kind, job)
        return self.known(jobs)

    def _estimate(self, kind: str, job: Job) -> None:
        store, cell = job.homes[0].store, job.cell
        try:
            seconds = recipes.estimated(store, [cell], threads=self.threads, log=self.report)[cell.name]
        except FileNotFoundError as error:
            self.report(f"{cell.name} cannot be timed: {error}")
            seconds = math.inf
        if math.isfinite(seconds):
            self._remember(kind, seconds)
        else:
            self._failed.add(kind)

    def _logged(self) -> dict[str, float]:
        lines = [line for line in self.log.lines() if "failed" not in line]
        own = [_type(line["machine"], line["device"], line["threads"]) == self._own for line in lines]
        order = sorted(
            range(len(lines)), key=own.__getitem__
        )  # times from this machine come last and take precedence
        return {lines[place]["alike"]: float(lines[place]["seconds"]) for place in order}

    def _remembered(self) -> dict[str, float]:
        found = self._all()
        everywhere = {kind: seconds for known in found.values() for kind, seconds in known.items()}
        return everywhere | found.get(self._own, {})

    @property
    def _own(self) -> str:
        return _type(machine(self.device), self.device, self.threads)

    def _all(self) -> dict[str, dict[str, float]]:
        try:
            found = read_json(self.memory)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _remember(self, kind: str, seconds: float) -> None:
        found = self._all()
        found.setdefault(self._own, {})[kind] = round(seconds, 1)
        write_json(self.memory, found)


def machine_in_words(known: Mapping[str, Any]) -> str:
    """Describe the machine in one line: "AMD EPYC 7763, 2 cores, no AMX"."""
    amx = "AMX" if known.get("amx") else "no AMX"
    gpu = f", {known['gpu']}" if known.get("gpu") else ""
    return f"{known.get('cpu', 'unknown processor')}, {known.get('cores', '?')} cores, {amx}{gpu}"


def _kind(job: Job) -> str:
    return alike(job.homes[0].store, job.cell)


def _type(known: Mapping[str, Any], device: str, threads: int) -> str:
    return f"{machine_in_words(known)}; {device}, {threads} thread(s)"
