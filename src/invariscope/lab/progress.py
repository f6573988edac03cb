"""The progress of a campaign: which cells are finished, and which still have to be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from invariscope.lab.agenda import AgendaTurn, Goal, Home, Job, order
from invariscope.lab.recipes import Archive, Cell, Store
from invariscope.lab.recipes.archive import LEFT_OUT, lacks_weights


@dataclass
class CampaignProgress:
    """The state of every cell of a campaign, as of the last `update` of each.

    Args:
        jobs: jobs of the campaign, by key.
        goals: what they are run for.
        archive: the archive of finished cells.
        whole: keys of finished cells with all their files.
        partial: keys of finished networks without their weights.
        at_risk: keys in `whole` whose weights the archive lacks.
        failed: why cells failed in this run, by key.
    """

    jobs: Mapping[str, Job]
    goals: Sequence[Goal]
    archive: Archive
    whole: set[str] = field(default_factory=set)
    partial: set[str] = field(default_factory=set)
    at_risk: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def update(self, key: str) -> None:
        """Update what is known about the cell from the archive and the work folder."""
        known = self.archive.manifest(key)
        archived = known is not None and not lacks_weights(known)
        here = any(is_whole(home.store, home.cell) for home in self.jobs[key].homes)
        _put(self.whole, key, archived or here)
        _put(self.partial, key, known is not None and not archived and not here)
        _put(self.at_risk, key, here and not archived and not self.jobs[key].measures)

    def unfinished(self) -> list[str]:
        """Return the keys of the cells to run, needed cells first, without failed cells and their dependants.

        An archived network without weights is included only if one of these cells needs it.
        """
        blocked: set[str] = set()
        for key, job in self.jobs.items():  # needed cells come first
            if key not in self.whole and (key in self.failed or blocked & set(job.needs)):
                blocked.add(key)
        found: list[str] = []
        needed: set[str] = set()
        for key, job in reversed(list(self.jobs.items())):
            there = key in self.whole or (key in self.partial and key not in needed)
            if not there and key not in blocked:
                found.append(key)
                needed |= set(job.needs)
        return found[::-1]

    def turns(self, seconds: Mapping[str, float], limit_s: float) -> Iterator[AgendaTurn]:
        """Yield the cells to run, in order; `seconds` is the cost of each."""
        return order(self.jobs, self.goals, self.unfinished(), seconds, at_risk=self.at_risk, limit_s=limit_s)

    def missing(self) -> list[str]:
        """Return the keys of cells that are neither in the archive nor in the work folder."""
        return [key for key in self.jobs if key not in self.whole | self.partial]

    def home(self, key: str) -> Home:
        """Return the recipe in which to run the cell: if possible, one whose unfinished cells need it."""
        homes = self.jobs[key].homes
        unfinished = set(self.unfinished())
        wanting = [h for h in homes if unfinished & set(_dependants(h.store, h.cell))]
        return (wanting or homes)[0]


def is_whole(store: Store, cell: Cell) -> bool:
    """Return whether the output folder has the cell with all its files; a damaged cell is deleted."""
    if not store.folder(cell).exists():
        return False
    try:
        known = store.manifest(cell)
        return known is not None and LEFT_OUT not in known
    except ValueError:
        store.remove(cell)
        return False


def _dependants(store: Store, cell: Cell) -> Iterator[str]:
    return (store.key(other) for other in store.plan.cells if cell.name in other.needs)


def _put(keys: set[str], key: str, inside: bool) -> None:
    keys.discard(key)
    if inside:
        keys.add(key)
