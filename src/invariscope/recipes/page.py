"""The page of a recipe: our numbers beside the published ones, verdicts, figures, and what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invariscope.plots.shared.digits import probability
from invariscope.plots.shared.labels import interval, number, outside_note
from invariscope.recipes.figures import Drawn, draw_all
from invariscope.recipes.kinds.train import Train
from invariscope.recipes.outcomes import Outcomes
from invariscope.recipes.shortening import said_once
from invariscope.recipes.verdicts import (
    CONFIRMED,
    REFUTED,
    UNDECIDED,
    UNTESTED,
    Case,
    Verdict,
    table_cases,
    verdicts,
)

_NONE = "–"
_SHOWN = 6
_CLAIMS = (
    "claim",
    "verdict",
    "for",
    "against",
    "against (Holm)",
    "undecided",
    "no value",
    "how it is tested",
)
_RULE = (
    "A claim is confirmed if every one of its cases is, and refuted if any one is. Among many cases chance "
    "alone may refute one: the column *against (Holm)* counts those that stay refuted after adjustment for "
    "the number of cases (adjusted p at most 0.05). That every case is confirmed needs no adjustment."
)


@dataclass(frozen=True)
class Page:
    """The page of one output folder.

    Args:
        outcomes: the cells.
        data_note: on the data's variant, shown as it is.
        failed: cell to reason, of the run before.
    """

    outcomes: Outcomes
    data_note: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Writes the page and its figures; returns its path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = list(draw_all(self.outcomes, path.parent))
        part = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            part.write_text(self.text(drawn), encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def text(self, drawn: Sequence[Drawn]) -> str:
        """The page's Markdown."""
        recipe = self.outcomes.plan.recipe
        found = verdicts(recipe, self.outcomes)
        tables = [self._table(i) for i in range(len(recipe.tables))]
        parts = [
            f"# {recipe.title}",
            f"Source: {recipe.source}",
            recipe.about.strip(),
            self._how(),
            self._trouble(),
            *(["## Claims", _RULE, _claims(found)] if found else []),
            *tables,
            *self._trainings(),
            *(["## Figures", *map(_figure, drawn)] if drawn else []),
            *(["## Claims, case by case", *map(_cases, found)] if any(v.cases for v in found) else []),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _how(self) -> str:
        plan = self.outcomes.plan
        manifests = [m for m in map(self.outcomes.manifest, plan.cells) if m]
        lines = [
            f"- Scale **{plan.scale}**: {plan.recipe.scales[plan.scale]}",
            f"- {len(manifests)} of {len(plan.cells)} cells are finished; they took "
            f"{_duration(sum(m['seconds'] for m in manifests))} together, on {platform.machine()} with "
            f"{_several(m['threads'] for m in manifests) or _NONE} thread(s) each.",
        ]
        if manifests:
            versions = manifests[-1]["versions"]
            lines.append(
                "- Versions: " + ", ".join(f"{name} {text}" for name, text in versions.items()) + "."
            )
        if plan.left_out:
            lines.append(f"- Left out at this scale, {len(plan.left_out)} cells: {_listed(plan.left_out)}.")
        lines += [f"- Data: {note}" for note in self._data_notes()]
        lines.append("- Intervals are 95 %, over samples (delete-a-group jackknife) unless said otherwise.")
        return "\n".join(lines)

    def _data_notes(self) -> list[str]:
        """What the user says of the data, and what a note beside the files says."""
        notes = [self.data_note] if self.data_note else []
        return notes + _notes_beside(self.outcomes)

    def _trouble(self) -> str:
        """Cells that failed, each with what it said last."""
        lines = []
        for cell in self.outcomes.plan.cells:
            said = self.outcomes.log(cell)
            if self.outcomes.manifest(cell) is None and (said or cell.name in self.failed):
                reason = self.failed.get(cell.name, "did not finish")
                log = "\n".join(f"    {line}" for line in said)
                lines.append(f"**{cell.name}**: {reason}" + (f"\n\n{log}" if log else ""))
        return "\n\n".join(["## Cells that failed", *lines]) if lines else ""

    def _table(self, index: int) -> str:
        table = self.outcomes.plan.recipe.tables[index]
        cases = table_cases(self.outcomes.plan.recipe, index, self.outcomes)
        axes = list(cases[0].axes) if cases else []
        common, shorter = said_once([self._shortened(case) for case in cases])
        published = ["published"] if table.published else []
        headings = [*axes, "ours", "95 % interval", *published, *(["shortened"] if any(shorter) else [])]
        rows = [
            [*map(str, case.axes.values()), *_numbers(case, published), *([text] if any(shorter) else [])]
            for case, text in zip(cases, shorter, strict=True)
        ]
        missing = list(dict.fromkeys(case.reason for case in cases if case.reason))
        notes = [common, *_over(cases), *([f"No value: {_listed(missing)}."] if missing else [])]
        return "\n\n".join(
            part for part in [f"## {table.title}", table.about.strip(), _grid(headings, rows), *notes] if part
        )

    def _shortened(self, case: Case) -> list[str]:
        return [t for name in case.cells for t in self.outcomes.shortened(self.outcomes.plan[name])]

    def _trainings(self) -> list[str]:
        rows: list[list[str]] = []
        trained = [
            (cell, cell.options)
            for cell in self.outcomes.plan.cells
            if isinstance(cell.options, Train) and self.outcomes.manifest(cell)
        ]
        if not trained:
            return []
        common, shorter = said_once([self.outcomes.shortened(cell) for cell, _ in trained])
        for (cell, options), text in zip(trained, shorter, strict=True):
            known = self.outcomes.training(cell)
            last = known["history"][-1]
            rows.append([
                cell.name, options.network, str(last["epoch"]), str(known["data"]["samples"]),
                number(known["accuracy"]), _duration(known["seconds"]),
                *([text or _NONE] if any(shorter) else []),
            ])  # fmt: skip
        headings = ["cell", "network", "epochs", "images", "accuracy, last epoch", "time"]
        headings += ["shortened (published)"] if any(shorter) else []
        return ["## Trainings", _grid(headings, rows), common]


def _notes_beside(outcomes: Outcomes) -> list[str]:
    """The text of NOTE.txt in the folders of the data sets that are used."""
    cells = filter(outcomes.manifest, outcomes.plan.cells)
    known = [pair for cell in cells for pair in outcomes.store.data_known(cell).items()]
    lines = [f"{name.partition('/')[0]}: {entry['note']}" for name, entry in known if entry["note"]]
    return list(dict.fromkeys(lines))


def _claims(found: Sequence[Verdict]) -> str:
    rows = []
    for verdict in found:
        count = verdict.counts
        for_, against, undecided, untested = (
            count[word] for word in (CONFIRMED, REFUTED, UNDECIDED, UNTESTED)
        )
        known = (for_, against, verdict.firmly_against, undecided, untested)
        numbers = [str(number) if verdict.cases else _NONE for number in known]
        about = verdict.claim.untested or verdict.claim.about
        rows.append([verdict.claim.text, f"*{verdict.word}*", *numbers, about])
    return _grid(_CLAIMS, rows)


def _cases(verdict: Verdict) -> str:
    if not verdict.cases:
        return ""
    axes = list(verdict.cases[0].axes)
    rows = [
        [
            *map(str, case.axes.values()),
            *_numbers(case, ()),
            probability(case.p),
            probability(case.p_holm),
            f"*{case.verdict}*" + (f": {case.reason}" if case.reason else ""),
        ]
        for case in verdict.cases
    ]
    said = [f"Holds where the value is {verdict.claim.holds}.", *_over(verdict.cases)]
    heading = f"### {verdict.claim.text}\n\n{' '.join(said)}"
    return heading + "\n\n" + _grid([*axes, "value", "95 % interval", "p", "p (Holm)", "verdict"], rows)


def _numbers(case: Case, published: Sequence[str]) -> list[str]:
    """Ours, the interval, and where there are any the published number."""
    known = [_NONE if case.published is None else number(case.published) for _ in published]
    if case.estimate is None:
        return [_NONE, _NONE, *known]
    value, around = case.estimate.value, case.estimate.interval
    span = interval(around.low, around.high, value=value, corrected=around.centre)
    return [number(value), span, *known]


def _over(cases: Sequence[Case]) -> list[str]:
    """What the intervals are over, if that is not samples, and what a number in front of them is."""
    known = [case.estimate for case in cases if case.estimate is not None]
    over = {estimate.over for estimate in known} - {"samples"}
    rows = [{"value": estimate.value, **estimate.interval.columns} for estimate in known]
    return [*(f"The interval is over {what}." for what in sorted(over)), *outside_note(rows)]


def _figure(drawn: Drawn) -> str:
    missing = f"Not finished, so not shown: {', '.join(drawn.missing)}." if drawn.missing else ""
    if drawn.path is None:
        return f"### {drawn.title}\n\nNo figure: {drawn.reason}."
    image = f"![{drawn.title}]({drawn.path.as_posix()})"
    return "\n\n".join(part for part in [f"### {drawn.title}", image, drawn.about, missing] if part)


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in cells) + " |"

    return "\n".join([line(headings), "|" + "---|" * len(headings), *map(line, rows)])


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _several(values: Any) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _duration(seconds: float) -> str:
    """Seconds for people.

    >>> _duration(42.4), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
