"""The agenda of a campaign, and the summary page beside its archive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from invariscope.lab.agenda import AgendaStep, Job
from invariscope.lab.costs import Costs, machine_in_words
from invariscope.lab.log import Log, alike
from invariscope.lab.progress import CampaignProgress
from invariscope.lab.recipes.archive import FILE_BYTES, MB, TOTAL_BYTES, WEIGHTS_BYTES, lacks_weights
from invariscope.lab.recipes.markdown import grid

_ABOUT = f"""\
Finished cells of the recipes: `invariscope reproduce RECIPE` takes them from here and only writes its page.
Each `cells/KEY.zip` holds one cell; its `cell.json` describes the cell and the machine it ran on.
`log.jsonl` has one line per cell that finished or failed.

{{size:.1f}} of {TOTAL_BYTES / MB:g} MB are used. The limit is {FILE_BYTES / MB:g} MB per file, and
{WEIGHTS_BYTES / MB:g} MB for the weights of all networks together. If they exceed it, those that no
unfinished cell needs are left out, {{left_out}} so far; such a network is trained again if a new
measurement needs it.

`make campaign` runs the missing cells. `python -m invariscope.lab.campaign --summary` writes this page."""


def agenda_table(progress: CampaignProgress, costs: Costs, log: Log, limit_s: float) -> str:
    """Return a table of the cells to run, in order, then those that do not fit and the finished ones."""
    unfinished = progress.unfinished()
    seconds = costs([progress.jobs[key] for key in unfinished])
    turns = list(progress.turns(seconds, limit_s))
    late = [key for key in unfinished if key not in {turn.key for turn in turns}]
    done, logged = [key for key in progress.jobs if key not in unfinished], log.finished()
    rows = [(progress.jobs[t.key], "to run", seconds[t.key], f"{t.rate:.2f}") for t in turns]
    rows += [(progress.jobs[key], "does not fit", seconds[key], "") for key in late]
    rows += [(progress.jobs[k], "finished", logged.get(k, {}).get("seconds", math.inf), "") for k in done]
    lines = [f"{'minutes':>8} {'worth/h':>9}  {'state':<12}  cell"]
    lines += [f"{_minutes(s):>8} {rate:>9}  {state:<12}  {_named(job)}" for job, state, s, rate in rows]
    total = sum(seconds[turn.key] for turn in turns) / 3600
    return "\n".join([*lines, f"{len(turns)} to run in about {total:.1f} hours; {len(late)} do not fit"])


def summary(progress: CampaignProgress, costs: Costs, log: Log, steps: Sequence[AgendaStep]) -> str:
    """Return the summary page: cells by step, core-hours, machines, and missing cells with their costs."""
    logged = [line for line in log.lines() if "failed" not in line]
    manifests = [progress.archive.manifest(key) for key in progress.jobs]
    about = _ABOUT.format(
        size=progress.archive.used() / MB,
        left_out=sum(map(lacks_weights, filter(None, manifests))),
    )
    parts = [
        "# Reproductions",
        about,
        "## Steps",
        _steps(progress, logged, steps),
        "## Machines",
        _machines(logged),
        *_missing(progress, costs, log),
    ]
    return "\n\n".join(parts) + "\n"


def _steps(progress: CampaignProgress, logged: Sequence[dict[str, Any]], steps: Sequence[AgendaStep]) -> str:
    there = progress.whole | progress.partial
    rows = []
    for number, step in enumerate(steps):
        keys = [key for key, job in progress.jobs.items() if job.step == number]
        hours = _core_hours([line for line in logged if line["key"] in keys])
        count = f"{len(there & set(keys))} of {len(keys)}"
        name = step.title or step.recipe.rpartition("/")[2].removesuffix(".toml")
        rows.append([str(number + 1), name, ", ".join(f"`{p}`" for p in step.cells), count, f"{hours:.2f}"])
    total = _core_hours([line for line in logged if line["key"] in progress.jobs])
    rows.append(["", "all", "", f"{len(there)} of {len(progress.jobs)}", f"{total:.2f}"])
    return _table(["step", "recipe", "cells", "finished", "core-hours"], rows)


def _machines(logged: Sequence[dict[str, Any]]) -> str:
    names = {line["key"]: f"{machine_in_words(line['machine'])} ({line['device']})" for line in logged}
    rows = []
    for name in sorted(set(names.values())):
        own = [line for line in logged if names[line["key"]] == name]
        rows.append([name, str(len(own)), f"{_core_hours(own):.2f}"])
    return _table(["machine", "cells", "core-hours"], rows) if rows else "None yet."


def _missing(progress: CampaignProgress, costs: Costs, log: Log) -> list[str]:
    keys = progress.missing()
    if not keys:
        return ["## Missing", "Nothing."]
    seconds = costs.known(progress.jobs[key] for key in keys)
    failed = {line["key"]: line["failed"] for line in log.lines() if "failed" in line}
    sorts: dict[tuple[str, str], list[str]] = {}
    for key in keys:  # cells that differ only in seeds share a line
        home = progress.jobs[key].homes[0]
        sorts.setdefault((alike(home.store, home.cell), failed.get(key, "not run yet")), []).append(key)
    rows = [
        [_named(progress.jobs[own[0]]), str(len(own)), _minutes(seconds[own[0]]), why]
        for (_, why), own in sorts.items()
    ]
    known = [value for value in seconds.values() if math.isfinite(value)]
    text = f"{len(keys)} cells, about {sum(known) / 3600:.1f} core-hours"
    unknown = f"; the cost of {len(keys) - len(known)} is unknown" if len(known) < len(keys) else ""
    table = _table(["cell", "alike", "minutes each", "reason"], rows)
    return ["## Missing", f"{text}{unknown}.", table]


def _core_hours(lines: Sequence[dict[str, Any]]) -> float:
    return sum(line["seconds"] * line["threads"] for line in lines) / 3600


def _named(job: Job) -> str:
    recipe = job.homes[0].recipe.rpartition("/")[2].removesuffix(".toml")
    return f"{recipe}: {job.cell.name}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if math.isfinite(seconds) else "unknown"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return grid(list(zip(headings, zip(*rows, strict=True), strict=True)))
