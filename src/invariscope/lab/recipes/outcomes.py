"""The finished cells of an output folder, as used by tables, claims and figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from invariscope.common.reading import read_json
from invariscope.lab.recipes.archive import LEFT_OUT, MAPS
from invariscope.lab.recipes.cells import Cell, RecipePlan
from invariscope.lab.recipes.floors import Learned, floor_of, trained_below
from invariscope.lab.recipes.kinds.network_result import RESULT
from invariscope.lab.recipes.kinds.training import NETWORK
from invariscope.lab.recipes.quantities import LeftOutError, NotFinishedError
from invariscope.lab.recipes.running import tail
from invariscope.lab.recipes.store import LOG, Store

if TYPE_CHECKING:
    from invariscope.results.result import Result


@dataclass(frozen=True)
class Outcomes:
    """The finished cells by name; each is checked and read only once.

    Args:
        store: the store of the cells.
    """

    store: Store
    _manifests: dict[str, dict[str, Any] | None] = field(default_factory=dict, repr=False)
    _results: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def plan(self) -> RecipePlan:
        """The plan with all cells, finished or not."""
        return self.store.plan

    def manifest(self, cell: Cell) -> dict[str, Any] | None:
        """Return the manifest of a finished cell; None if it is unfinished or damaged."""
        if cell.name not in self._manifests:
            try:
                self._manifests[cell.name] = self.store.manifest(cell)
            except (ValueError, OSError):
                self._manifests[cell.name] = None
        return self._manifests[cell.name]

    def matching(self, patterns: Sequence[str]) -> list[str]:
        """Return the measuring cells that match any of the patterns, finished or not."""
        return self.plan.measuring(patterns)

    def finished(self, patterns: Sequence[str]) -> list[str]:
        """Return the finished measuring cells that match any of the patterns."""
        return [name for name in self.matching(patterns) if self.manifest(self.plan[name]) is not None]

    def result(self, name: str) -> Result:
        """Return the result of a cell.

        Raises:
            NoValueError: the cell is left out at this scale (LeftOutError), or unfinished (NotFinishedError).
        """
        from invariscope.results import storage

        if name in self.plan.left_out:
            raise LeftOutError(f"{name} is left out at this scale")
        cell = self.plan[name]
        manifest = self.manifest(cell)
        if manifest is None:
            raise NotFinishedError(f"{name} is not finished")
        if name not in self._results:
            with_maps = MAPS not in manifest.get(LEFT_OUT, {})
            result = storage.load(self.store.folder(cell) / RESULT, maps=with_maps)
            label = getattr(cell.options, "label", None)
            self._results[name] = result.labelled(label) if label else result
        return self._results[name]

    def without_maps(self, names: Iterable[str]) -> list[str]:
        """Return the finished cells whose maps were left out of the archive."""
        manifests = {name: self.manifest(self.plan[name]) or {} for name in names}
        return [name for name, manifest in manifests.items() if MAPS in manifest.get(LEFT_OUT, {})]

    def training(self, cell: Cell) -> dict[str, Any]:
        """Return the training record from the card of a finished training cell."""
        return read_json(self.store.folder(cell) / NETWORK / "card.json")["training"]

    def learned(self, name: str) -> tuple[Learned, ...]:
        """Return the trained networks that a measuring cell uses; none if it is unfinished."""
        if self.manifest(self.plan[name]) is None:
            return ()
        trained = trained_below(self.plan, name)
        return tuple(Learned(t, self._accuracy(t), floor_of(self.plan.recipe, t)) for t in trained)

    def _accuracy(self, name: str) -> float | None:
        """Return the accuracy on the test images; None if it was not measured or the training is missing."""
        cell = self.plan[name]
        return None if self.manifest(cell) is None else self.training(cell).get("test_accuracy")

    def finished_at(self, name: str) -> datetime | None:
        """Return when the measuring cell was finished; None if it is unfinished."""
        manifest = self.manifest(self.plan[name])
        return None if manifest is None else datetime.fromisoformat(manifest["finished"])

    def log(self, cell: Cell) -> list[str]:
        """Return the last lines that an unfinished cell logged; an empty list if it was never started."""
        try:
            return tail(self.store.scratch(cell) / LOG)
        except OSError:  # without its data the cell has no key, and therefore no folder
            return []

    def shortened(self, cell: Cell) -> list[str]:
        """Return the options that the scale changed in the cell and in those it needs: "epochs 3 (5)"."""
        own = [f"{name} {_brief(now)} ({_brief(then)})" for name, (now, then) in cell.shortened.items()]
        below = [text for need in cell.needs for text in self.shortened(self.plan[need])]
        return [*below, *own]


def _brief(value: Any) -> str:
    if value is None:
        return "all"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(option)}" for name, option in value.items()) or "default"
    if isinstance(value, list):
        return ", ".join(map(_brief, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
