"""The cells of a campaign and the order in which they run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.lab import recipes
from invariscope.lab.recipes import Archive, Cell, RecipeError, RecipePlan, Store
from invariscope.lab.recipes.cases import cells_of_claims
from invariscope.lab.recipes.text import Place, Text

SCALE = "campaign"
ALONE = 0.01
"""Worth of a cell by itself, relative to a claim: it fills one place of a table or figure."""


@dataclass(frozen=True, kw_only=True)
class AgendaStep:
    """The claims of one recipe, or of some of its cells.

    Args:
        recipe: a recipe of the package, or a .toml file.
        scale: a scale of the recipe.
        cells: patterns of cell names. Cells needed by a matching cell also run.
        worth: worth of a claim whose cells all match, and a hundred times that of a cell by itself; only
            ratios matter.
        title: the heading of the step in the summary; by default the name of the recipe.
        seeds: seeds that replace those of the recipe, for a replication with fresh training runs.
    """

    recipe: str
    worth: float
    scale: str = SCALE
    cells: list[str] = field(default_factory=lambda: ["*"])
    title: str = ""
    seeds: list[int] = field(default_factory=list)

    @cached_property
    def plan(self) -> RecipePlan:
        """All cells of the recipe, at the scale and with the seeds of the step."""
        return recipes.load(self.recipe, scale=self.scale, seeds=self.seeds or None)

    def covers(self, plan: RecipePlan) -> bool:
        """Return whether the recipe of this name has been planned for this step."""
        return (plan.scale, list(plan.seeds)) == (self.scale, self.seeds)


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
        needs: keys of the cells that it needs.
    """

    key: str
    step: int
    homes: tuple[Home, ...]
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
class Goal:
    """Cells that together answer a question, such as one case of a claim.

    Args:
        cells: keys of the cells.
        worth: worth of the answer, in the units of `AgendaStep.worth`.
    """

    cells: frozenset[str]
    worth: float


@dataclass(frozen=True)
class AgendaTurn:
    """The next cell to run, and the worth per core-hour of the goal that it belongs to."""

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
            stores[which] = Store(work, step.plan, data_dir, archive)
        store = stores[which]
        for cell in store.plan.with_needs(store.plan.matching(step.cells)):
            job = _job(Home(step.recipe, store, cell), number)
            jobs[job.key] = _merged(jobs[job.key], job) if job.key in jobs else job
    return jobs


def _job(home: Home, step: int) -> Job:
    needs = tuple(home.store.key(home.store.plan[need]) for need in home.cell.needs)
    return Job(home.store.key(home.cell), step, (home,), needs)


def _merged(first: Job, second: Job) -> Job:
    known = {(home.recipe, id(home.store), home.cell.name) for home in first.homes}
    new = tuple(h for h in second.homes if (h.recipe, id(h.store), h.cell.name) not in known)
    return Job(first.key, first.step, first.homes + new, first.needs)


def planned_goals(steps: Iterable[AgendaStep], jobs: Mapping[str, Job]) -> list[Goal]:
    """Return what the jobs of a campaign are run for: every case of a claim, and every cell by itself.

    The cases of a claim share its worth.
    """
    homes = [home for job in jobs.values() for home in job.homes]
    found = []
    for step in steps:
        own = [home for home in homes if home.recipe == step.recipe and step.covers(home.store.plan)]
        keys = {h.cell.name: h.store.key(h.cell) for h in own if matches_any(step.cells, h.cell.name)}
        found += [Goal(frozenset({key}), ALONE * step.worth) for key in keys.values()]
        for cases in cells_of_claims(own[0].store.plan):
            there = [case for case in cases if all(name in keys for name in case)]
            found += [Goal(frozenset(keys[n] for n in case), step.worth / len(cases)) for case in there]
    return found


def order(
    jobs: Mapping[str, Job],
    goals: Iterable[Goal],
    unfinished: Collection[str],
    seconds: Mapping[str, float],
    *,
    at_risk: Collection[str] = (),
    limit_s: float = float("inf"),
) -> Iterator[AgendaTurn]:
    """Yield the unfinished cells in the order in which they run.

    The next cells are those of the goal with the greatest worth per core-hour,

    .. math:: \\sum_{h \\subseteq g} w_h / \\sum_{c \\in g} t_c

    where *g* contains the unfinished cells of the goal and all unfinished cells that these need; the worths
    are those of all goals that would be reached with it. Measurements of networks whose weights are only in
    the work folder come before all others, because those weights are lost if the folder is deleted.

    Args:
        jobs: jobs of the campaign, by key.
        goals: what the jobs are run for; cells of no goal are not run.
        unfinished: keys of the cells that still have to run.
        seconds: cost of each job, by key.
        at_risk: finished networks whose weights are not in the archive.
        limit_s: seconds available for all cells; a goal is skipped if its cells do not fit into the remaining
            time.
    """
    board = _Board(jobs, goals, [key for key in jobs if key in unfinished], seconds)
    at_risk = set(at_risk)
    while (chosen := board.best(limit_s)) is not None:
        urgent = board.urgent(at_risk, limit_s)
        goal, rate = chosen
        key = board.first(goal) if urgent is None else urgent
        yield AgendaTurn(key, rate)
        board.run(key)
        limit_s -= seconds[key]
        if not jobs[key].measures:
            at_risk.add(key)


class _Board:
    """The unfinished cells and what they are run for; a goal includes the unfinished cells that it needs."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        goals: Iterable[Goal],
        unfinished: Sequence[str],
        seconds: Mapping[str, float],
    ) -> None:
        self._jobs, self._left = jobs, dict.fromkeys(unfinished)
        self._seconds = seconds
        self._place = {key: place for place, key in enumerate(unfinished)}
        worth: dict[frozenset[str], float] = {}
        for goal in goals:
            cells = self._with_needs(goal.cells)
            worth[cells] = worth.get(cells, 0.0) + goal.worth
        self._worth = np.array(list(worth.values()))
        self._goals = np.zeros((len(worth), len(unfinished)), bool)
        for row, cells in enumerate(worth):
            self._goals[row, [self._place[key] for key in cells]] = True
        counted = self._goals.astype(np.float32)
        self._shared = counted @ counted.T
        """The number of unfinished cells that two goals have in common."""

    def best(self, limit_s: float) -> tuple[int, float] | None:
        """Return the goal with the greatest worth per core-hour, and this rate; None if none fits."""
        size = self._shared.diagonal()
        cost = np.where(self._goals, [self._seconds[key] for key in self._place], 0.0).sum(axis=1)
        within = (self._shared == size[:, None]) & (size > 0)[:, None]  # [h, g]: all of h is in g
        rate = 3600 * (self._worth @ within) / np.maximum(cost, 1e-9)
        rate[(size == 0) | (cost > limit_s)] = -1.0
        goal = int(np.argmax(rate)) if rate.size else 0
        return (goal, float(rate[goal])) if rate.size and rate[goal] >= 0 else None

    def first(self, goal: int) -> str:
        """Return the first cell of a goal that is ready to run, a measurement if there is one."""
        own = [key for key in self._left if self._goals[goal, self._place[key]]]
        ready = [key for key in own if not self._waits(key)]
        return next((key for key in ready if self._jobs[key].measures), ready[0])

    def urgent(self, at_risk: Collection[str], limit_s: float) -> str | None:
        """Return a cell that is ready to run and measures one of these networks; None if there is none."""
        for key in self._left:
            job = self._jobs[key]
            fits = self._seconds[key] <= limit_s and any(need in at_risk for need in job.needs)
            if fits and job.measures and not self._waits(key):
                return key
        return None

    def run(self, key: str) -> None:
        """Take a cell off the board."""
        del self._left[key]
        own = np.flatnonzero(self._goals[:, self._place[key]])
        self._goals[own, self._place[key]] = False
        self._shared[np.ix_(own, own)] -= 1

    def _waits(self, key: str) -> bool:
        return any(need in self._left for need in self._jobs[key].needs)

    def _with_needs(self, keys: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        waiting = [key for key in keys if key in self._left]
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += [need for need in self._jobs[key].needs if need in self._left]
        return frozenset(found)
