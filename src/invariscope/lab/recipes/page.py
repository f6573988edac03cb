"""The page of a recipe: our numbers beside the published ones, verdicts, figures, and what failed."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
    without_value,
)
from invariscope.lab.recipes.cases import Case, table_cases
from invariscope.lab.recipes.comparison import CONFIRMED, MIXED, REFUTED, UNDECIDED, UNTESTED
from invariscope.lab.recipes.figures import FOLDER, DrawnFigure, draw_all, draw_claims, draw_tables
from invariscope.lab.recipes.kinds.train import Train
from invariscope.lab.recipes.markdown import NONE, duration, factored, grid
from invariscope.lab.recipes.outcomes import Outcomes
from invariscope.lab.recipes.recipe import SEEDS, RecipeTable
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

    @cached_property
    def verdicts(self) -> list[ClaimVerdict]:
        """The verdict on every claim."""
        return verdicts(self.outcomes.plan.recipe, self.outcomes)

    @cached_property
    def tables(self) -> list[tuple[RecipeTable, list[Case]]]:
        """Every table with its cases."""
        recipe = self.outcomes.plan.recipe
        return [(table, table_cases(recipe, i, self.outcomes)) for i, table in enumerate(recipe.tables)]

    def write(self, path: Path) -> Path:
        """Write the page and its figures, remove figures that it no longer shows, and return its path."""
        drawn = list(draw_all(self.outcomes, path))
        claims, tables = draw_claims(self.verdicts, path), draw_tables(self.tables, path)
        with replacing(path) as part:
            part.write_text(visible(self.text(drawn, claims, tables), keep="\n"), encoding="utf-8")
        made = [*(figure.path for figure in drawn), *claims.values(), *tables.values()]
        shown = {path.parent / one for one in made if one}
        for suffix in ("svg", "png"):
            for old in (path.parent / FOLDER / path.stem).glob(f"*.{suffix}"):
                if old not in shown:
                    old.unlink()
        return path

    def text(
        self,
        drawn: Sequence[DrawnFigure],
        claims: Mapping[str, Path] | None = None,
        tables: Mapping[str, Path] | None = None,
    ) -> str:
        """Return the page as Markdown.

        Args:
            drawn: the figures of the recipe.
            claims: the figure of each claim that has one, by the claim's text.
            tables: the figure of each table that has one, by the table's title.
        """
        recipe = self.outcomes.plan.recipe
        parts = [
            f"# {recipe.title}",
            f"Source: {recipe.source}",
            recipe.about.strip(),
            self.summary,
            "## How the numbers were made",
            self._how(),
            self._trouble(),
            *self._claims(self.verdicts),
            *(["## Figures", *map(_figure, drawn), _undrawn(drawn)] if drawn else []),
            *(self._table(table, cases, (tables or {}).get(table.title)) for table, cases in self.tables),
            *self._trainings(),
            *self._cases(claims or {}),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def finished(self) -> str:
        """How many cells are finished, "3 of 12"."""
        cells = self.outcomes.plan.cells
        return f"{sum(self.outcomes.manifest(cell) is not None for cell in cells)} of {len(cells)}"

    @property
    def summary(self) -> str:
        """What is finished, and how many claims have which verdict, in two sentences."""
        text = f"**{self.finished} cells are finished.**"
        if not self.verdicts:
            return text
        counts = Counter(verdict.word for verdict in self.verdicts)
        words = [f"{counts[w]} {w}" for w in (CONFIRMED, REFUTED, MIXED, UNDECIDED, UNTESTED) if counts[w]]
        total = len(self.verdicts)
        return (
            f"{text} Of {total} claims, {listed(words, limit=5)}."
            if total > 1
            else f"{text} The claim: {words[0]}."
        )

    def _how(self) -> str:
        plan = self.outcomes.plan
        manifests = [m for m in map(self.outcomes.manifest, plan.cells) if m]
        lines = [
            *([f"- Recipe: {plan.history.words}."] if plan.history else []),
            *([f"- Fresh {SEEDS}: {', '.join(map(str, plan.seeds))}."] if plan.seeds else []),
            f"- Scale **{plan.scale}**: {plan.recipe.scales[plan.scale]}",
        ]
        if manifests:
            took = duration(sum(m["seconds"] for m in manifests))
            threads = ", ".join(map(str, sorted({m["threads"] for m in manifests})))
            known = [m.get("machine") or {"cpu": "unknown"} for m in manifests]
            machines = Counter(str(one.get("gpu") or one["cpu"]) for one in known)
            named = listed(f"{name} ({count})" for name, count in machines.most_common())
            versions = ", ".join(f"{name} {text}" for name, text in manifests[-1]["versions"].items())
            lines.append(f"- The finished cells took {took} together, with {threads} thread(s) each.")
            lines.append(f"- Machines, and cells finished on each: {named}. Versions: {versions}.")
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

    def _cases(self, figures: Mapping[str, Path]) -> list[str]:
        history, shown = self.outcomes.plan.history, []
        for verdict in self.verdicts:
            text = verdict.claim.text
            image = _image(f"Cases of the claim: {text}", figures[text]) if text in figures else ""
            shown.append(case_by_case(verdict, history, image))
        return ["## Claims, case by case", *shown] if any(shown) else []

    def _table(self, table: RecipeTable, every: Sequence[Case], figure: Path | None) -> str:
        cases = [case for case in every if case.estimate is not None]
        heading = [f"## {table.title}", table.about.strip(), _image(table.title, figure) if figure else ""]
        if not cases:
            return "\n\n".join(part for part in [*heading, without_value(every, "row")] if part)
        common, shorter = factored([self._shortened(case) for case in cases])
        published = [NONE if case.published is None else number(case.published) for case in cases]
        columns = [
            *axis_columns(cases),
            *number_columns(cases, "ours"),
            *([("published", published)] if table.published else []),
            accuracy_column(cases),
            ("shortened", shorter),
        ]
        parts = [*heading, grid(columns), common, *interval_notes(cases), without_value(every, "row")]
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
    """Return a figure with its caption; empty if nothing could be drawn."""
    if drawn.path is None:
        return ""
    caption = " ".join(" ".join([drawn.about.strip(), *drawn.notes]).split())
    return "\n\n".join(
        filter(None, [f"### {drawn.title}", _image(drawn.title, drawn.path, drawn.width), caption])
    )


def _undrawn(drawn: Sequence[DrawnFigure]) -> str:
    """Return the figures that could not be drawn, with reasons."""
    lines = [f"- {figure.title}: {figure.reason}." for figure in drawn if figure.path is None]
    return "\n".join(["Not drawn yet:\n" if lines else "", *lines]).strip()


def _image(text: str, path: Path, width: int = 0) -> str:
    """Return a figure at its own width in CSS pixels; a PNG file has twice as many."""
    plain = text.replace("[", "(").replace("]", ")")
    if path.suffix == ".png":
        return f'<img src="{path.as_posix()}" alt="{html.escape(plain)}" width="{width}">'
    return f"![{plain}]({path.as_posix()})"
