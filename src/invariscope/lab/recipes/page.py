"""The page of a recipe: our numbers beside the published ones, verdicts, figures, and what failed."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.common.files import replacing
from invariscope.common.wording import listed, visible
from invariscope.lab.recipes.case_tables import (
    RULE,
    accuracy_column,
    axis_columns,
    case_by_case,
    claims_table,
    interval_notes,
    number_columns,
    seen_note,
)
from invariscope.lab.recipes.cases import Case, table_cases
from invariscope.lab.recipes.figures import DrawnFigure, draw_all
from invariscope.lab.recipes.kinds.train import Train
from invariscope.lab.recipes.markdown import NONE, duration, factored, grid
from invariscope.lab.recipes.outcomes import Outcomes
from invariscope.lab.recipes.recipe import SEEDS
from invariscope.lab.recipes.verdicts import ClaimVerdict, verdicts
from invariscope.plots.shared.labels import number


@dataclass(frozen=True)
class Page:
    """The Markdown page about the cells of one output folder.

    Args:
        outcomes: the cells.
        data_note: a remark on the variant of the data, shown unchanged.
        failed: why cells failed in the run that just ended, by name.
    """

    outcomes: Outcomes
    data_note: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the page and its figures, and return its path."""
        drawn = list(draw_all(self.outcomes, path.parent))
        with replacing(path) as part:
            part.write_text(visible(self.text(drawn), keep="\n"), encoding="utf-8")
        return path

    def text(self, drawn: Sequence[DrawnFigure]) -> str:
        """Return the page as Markdown."""
        recipe = self.outcomes.plan.recipe
        found = verdicts(recipe, self.outcomes)
        parts = [
            f"# {recipe.title}",
            f"Source: {recipe.source}",
            recipe.about.strip(),
            self._how(),
            self._trouble(),
            *self._claims(found),
            *(self._table(i) for i in range(len(recipe.tables))),
            *self._trainings(),
            *(["## Figures", *map(_figure, drawn)] if drawn else []),
            *self._cases(found),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _how(self) -> str:
        plan = self.outcomes.plan
        manifests = [m for m in map(self.outcomes.manifest, plan.cells) if m]
        lines = [
            *([f"- Recipe: {plan.history.words}."] if plan.history else []),
            *([f"- Fresh {SEEDS}: {', '.join(map(str, plan.seeds))}."] if plan.seeds else []),
            f"- Scale **{plan.scale}**: {plan.recipe.scales[plan.scale]}",
            f"- {len(manifests)} of {len(plan.cells)} cells are finished; they took "
            f"{duration(sum(m['seconds'] for m in manifests))} together, on {platform.machine()} with "
            f"{', '.join(map(str, sorted({m['threads'] for m in manifests}))) or NONE} thread(s) each.",
        ]
        if manifests:
            versions = manifests[-1]["versions"]
            lines.append(
                "- Versions: " + ", ".join(f"{name} {text}" for name, text in versions.items()) + "."
            )
        if plan.left_out:
            lines.append(
                f"- Left out at this scale, {len(plan.left_out)} cells: {listed(plan.left_out, limit=6)}."
            )
        notes = [self.data_note] if self.data_note else []
        lines += [f"- Data: {note}" for note in notes + _notes_beside(self.outcomes)]
        lines.append(
            "- Intervals are at the 95 % level; each table states what they are over. Intervals over samples "
            "only (delete-a-group jackknife) apply to the measured training runs, not to others."
        )
        return "\n".join(lines)

    def _trouble(self) -> str:
        """Return the cells that failed, each with the last lines of its log."""
        lines = []
        for cell in self.outcomes.plan.cells:
            logged = self.outcomes.log(cell)
            if self.outcomes.manifest(cell) is None and (logged or cell.name in self.failed):
                reason = self.failed.get(cell.name, "did not finish")
                log = "\n".join(f"    {line}" for line in logged)
                lines.append(f"**{cell.name}**: {reason}" + (f"\n\n{log}" if log else ""))
        return "\n\n".join(["## Cells that failed", *lines]) if lines else ""

    def _claims(self, found: Sequence[ClaimVerdict]) -> list[str]:
        history = self.outcomes.plan.history
        if not found:
            return []
        return ["## Claims", RULE, claims_table(found, history), seen_note(found, history)]

    def _cases(self, found: Sequence[ClaimVerdict]) -> list[str]:
        shown = [case_by_case(verdict, self.outcomes.plan.history) for verdict in found]
        return ["## Claims, case by case", *shown] if any(shown) else []

    def _table(self, index: int) -> str:
        table = self.outcomes.plan.recipe.tables[index]
        cases = table_cases(self.outcomes.plan.recipe, index, self.outcomes)
        common, shorter = factored([self._shortened(case) for case in cases])
        published = [NONE if case.published is None else number(case.published) for case in cases]
        columns = [
            *axis_columns(cases),
            *number_columns(cases, "ours"),
            *([("published", published)] if table.published else []),
            accuracy_column(cases),
            ("shortened", shorter),
        ]
        missing = list(dict.fromkeys(case.reason for case in cases if case.reason))
        notes = [f"No value: {listed(missing, limit=6)}."] if missing else []
        parts = [f"## {table.title}", table.about.strip(), grid(columns), common]
        parts += [*interval_notes(cases), *notes]
        return "\n\n".join(part for part in parts if part)

    def _shortened(self, case: Case) -> list[str]:
        return [t for name in case.cells for t in self.outcomes.shortened(self.outcomes.plan[name])]

    def _trainings(self) -> list[str]:
        trained = [
            (cell, cell.options, self.outcomes.training(cell))
            for cell in self.outcomes.plan.cells
            if isinstance(cell.options, Train) and self.outcomes.manifest(cell)
        ]
        if not trained:
            return []
        common, shorter = factored([self.outcomes.shortened(cell) for cell, _, _ in trained])
        columns = [
            ("cell", [cell.name for cell, _, _ in trained]),
            ("network", [options.network for _, options, _ in trained]),
            ("epochs", [str(known["history"][-1]["epoch"]) for *_, known in trained]),
            ("images", [str(known["data"]["samples"]) for *_, known in trained]),
            ("accuracy, last epoch", [number(known["accuracy"]) for *_, known in trained]),
            ("accuracy, test images", _tested([known for *_, known in trained])),
            ("time", [duration(known["seconds"]) for *_, known in trained]),
            ("shortened (published)", [text or NONE for text in shorter] if any(shorter) else shorter),
        ]
        return ["## Trainings", grid(columns), common]


def _tested(trainings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the accuracies on test images; empty if not measured."""
    known = [training.get("test_accuracy") for training in trainings]
    return ["" if accuracy is None else number(accuracy) for accuracy in known]


def _notes_beside(outcomes: Outcomes) -> list[str]:
    """Return the contents of NOTE.txt in the folders of the data sets used."""
    cells = filter(outcomes.manifest, outcomes.plan.cells)
    known = [pair for cell in cells for pair in outcomes.store.data_known(cell).items()]
    lines = [f"{name.partition('/')[0]}: {entry['note']}" for name, entry in known if entry["note"]]
    return list(dict.fromkeys(lines))


def _figure(drawn: DrawnFigure) -> str:
    missing = f"Unfinished, so not shown: {', '.join(drawn.missing)}." if drawn.missing else ""
    if drawn.path is None:
        return f"### {drawn.title}\n\nNo figure: {drawn.reason}."
    image = f"![{drawn.title}]({drawn.path.as_posix()})"
    return "\n\n".join(part for part in [f"### {drawn.title}", image, drawn.about, missing] if part)
