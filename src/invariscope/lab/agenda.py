"""The cells of a campaign and the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from invariscope.common.globs import matches_any
from invariscope.lab import recipes
from invariscope.lab.recipes import Archive, Cell, RecipeError, Store
from invariscope.lab.recipes.text import Place, Text

SCALE = "campaign"


@dataclass(frozen=True, kw_only=True)
class AgendaStep:
    """Cells of one recipe that have the same worth.

    Args:
        recipe: a recipe of the package, or a .toml file.
        scale: a scale of the recipe.
        cells: patterns of cell names. Cells needed by a matching cell also run, but have a worth of 0.
        worth: worth of each cell; only ratios matter.
        title: the heading of the step in the summary; by default the name of the recipe.
        seeds: fresh seeds, which replace the recipe's list `seeds`; empty: the seeds of the recipe.
    """

    recipe: str
    worth: float
    scale: str = SCALE
    cells: list[str] = field(default_factory=lambda: ["*"])
    title: str = ""
    seeds: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Home:
    """A cell within one of the recipes that contain it.

    Args:
        recipe: name or path of the recipe, as given on the command line.
        store: the cells of the recipe.
        cell: the cell.
    """

    recipe: str
    store: Store
    cell: Cell


@dataclass(frozen=True)
class Job:
    """A cell of the campaign.

    Args:
        key: key of the cell; recipes that share a cell share its job.
        step: number of the first step that lists it.
        homes: the recipes that contain it.
        worth: the largest worth among the steps that list it.
        needs: keys of the cells that it needs.
    """

    key: str
    step: int
    homes: tuple[Home, ...]
    worth: float
    needs: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        """The cell in the first of its recipes."""
        return self.homes[0].cell

    @property
    def measures(self) -> bool:
        """Whether the cell yields a result rather than a network."""
        return self.cell.options.gives == "result"


@dataclass(frozen=True)
class AgendaTurn:
    """The next cell to run, and the worth per core-hour by which it was chosen."""

    key: str
    rate: float


def read_steps(path: Path) -> list[AgendaStep]:
    """Return the steps in a campaign file.

    Raises:
        RecipeError: an error in the file; the message points at the line.
    """
    text = Text.read(path)
    tables = text.parsed()
    entries = tables.get("steps", [])
    if set(tables) - {"steps"} or not isinstance(entries, list) or not entries:
        raise RecipeError(f"{text.name}: a campaign must consist of [[steps]] only, at least one")
    steps = [Place(text, "steps", number).fill(AgendaStep, table) for number, table in enumerate(entries)]
    for number, step in enumerate(steps):
        if step.worth < 0:
            raise Place(text, "steps", number).error(f"worth must be at least 0, got {step.worth:g}", "worth")
    return steps


def planned_jobs(
    steps: list[AgendaStep], work: Path, data_dir: Path | None, archive: Archive
) -> dict[str, Job]:
    """Return the jobs of a campaign by key, step by step; within a step, needed cells come first.

    Raises:
        FileNotFoundError: a data set is missing, and the archive has no digests of it.
        ValueError: unknown recipe or scale, or a pattern that matches no cell.
    """
    stores: dict[tuple[str, str, tuple[int, ...]], Store] = {}
    jobs: dict[str, Job] = {}
    for number, step in enumerate(steps):
        which = (step.recipe, step.scale, tuple(step.seeds))
        if which not in stores:
            plan = recipes.load(step.recipe, scale=step.scale, seeds=step.seeds or None)
            stores[which] = Store(work, plan, data_dir, archive)
        store = stores[which]
        for cell in store.plan.with_needs(store.plan.matching(step.cells)):
            worth = step.worth if matches_any(step.cells, cell.name) else 0.0
            job = _job(Home(step.recipe, store, cell), number, worth)
            jobs[job.key] = _merged(jobs[job.key], job) if job.key in jobs else job
    return jobs


def _job(home: Home, step: int, worth: float) -> Job:
    needs = tuple(home.store.key(home.store.plan[need]) for need in home.cell.needs)
    return Job(home.store.key(home.cell), step, (home,), worth, needs)


def _merged(first: Job, second: Job) -> Job:
    known = {(home.recipe, home.store.plan.scale, home.cell.name) for home in first.homes}
    new = tuple(h for h in second.homes if (h.recipe, h.store.plan.scale, h.cell.name) not in known)
    return Job(first.key, first.step, first.homes + new, max(first.worth, second.worth), first.needs)


def order(
    jobs: Mapping[str, Job],
    unfinished: Collection[str],
    seconds: Mapping[str, float],
    *,
    at_risk: Collection[str] = (),
    limit_s: float = float("inf"),
) -> Iterator[AgendaTurn]:
    """Yield the unfinished cells in the order in which they run.

    The next cell is the one with the greatest worth per core-hour,

    .. math:: (w_c + \\sum_{d \\in H} w_d) / (t_c + \\sum_{n \\in N} t_n)

    where N is the set of unfinished cells that c needs, and H the set of cells that would be ready to run
    once c and N are finished. The cells in N run first. The cost of H is not counted. Measurements of
    networks whose weights are only in the work folder come before all others, because those weights are lost
    if the folder is deleted.

    Args:
        jobs: jobs of the campaign, by key.
        unfinished: keys of the cells that still have to run.
        seconds: cost of each job, by key.
        at_risk: finished networks whose weights are not in the archive.
        limit_s: seconds available for all cells; a cell is skipped if it and the unfinished cells it needs do
            not fit into the remaining time.
    """
    left, at_risk = dict.fromkeys(key for key in jobs if key in unfinished), set(at_risk)
    while left:
        turns = [turn for turn in _turns(jobs, left, seconds, at_risk) if turn[2] <= limit_s]
        if not turns:
            return
        _, rate, _, key = max(turns, key=lambda turn: turn[:2])
        key = next((need for need in left if need in _below(jobs, key, left)), key)
        yield AgendaTurn(key, rate)
        del left[key]
        limit_s -= seconds[key]
        if not jobs[key].measures:
            at_risk.add(key)


_Turn = tuple[bool, float, float, str]


def _turns(
    jobs: Mapping[str, Job], left: Collection[str], seconds: Mapping[str, float], at_risk: Collection[str]
) -> Iterator[_Turn]:
    """Yield (whether the cell has precedence, worth per core-hour, seconds, key) for each remaining cell."""
    below = {key: _below(jobs, key, left) for key in left}
    above: dict[str, list[str]] = {key: [] for key in left}
    for key, needed in below.items():
        for need in needed:
            above[need].append(key)
    for key in left:
        own = below[key] | {key}
        worth = jobs[key].worth + sum(jobs[other].worth for other in above[key] if below[other] <= own)
        cost = sum(seconds[name] for name in own)
        first = jobs[key].measures and not below[key] and any(n in at_risk for n in jobs[key].needs)
        yield first, 3600 * worth / max(cost, 1e-9), cost, key


def _below(jobs: Mapping[str, Job], key: str, left: Collection[str]) -> set[str]:
    """Return the remaining cells that a cell needs, directly or indirectly."""
    found: set[str] = set()
    waiting = [need for need in jobs[key].needs if need in left]
    while waiting:
        need = waiting.pop()
        if need not in found:
            found.add(need)
            waiting += [more for more in jobs[need].needs if more in left]
    return found
