"""The page of the sweep: totals, a row per architecture, and the reasons of whatever was not read."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from benchmarks.architectures.comparison import Outcome

LIBRARIES = ("torch", "transformers", "timm", "torch_geometric")
ASKED = 0.95


def page(outcomes: list[Outcome]) -> list[str]:
    """Markdown lines."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return [
        "# Architectures of other libraries",
        "",
        f"{versions}; random weights, small sizes, 12 samples, two or three elements. Made by "
        "`python -m benchmarks.architectures`. The list was fixed before its first run. Since then one "
        "setting was added: mixtures of experts loop over them, because the grouped product has no float64.",
        "",
        "A *reading* is a floating tensor with a batch axis that a leaf module returns, as found by plain "
        "forward hooks at batch sizes of 12, 7 and 5. It is *equal* if the transformation, sample and "
        "normalized variance of every unit, and of the layer, agree with those of one forward per sample and "
        "element in float64, to 1e-6. *Unchanged*: a fresh model, measured in float32 before its first "
        "forward, returns bit for bit what a copy returns that was never measured, and its hooks, "
        "attributes, weights, buffers and modes are those of the copy, before or after that forward.",
        "",
        "Reasons given for skipped outputs of leaf modules are checked by plain hooks, too. A reading has "
        "*another value alone than in a batch* if plain hooks differ from themselves by more than 1e-4 of "
        "its rms. No value is right then, so it counts as not read. The pooling of GraphUNet leaves a "
        "complete graph, whose nodes all get the same scores, so that rounding decides which it keeps.",
        "",
        *totals(outcomes),
        "",
        "| library | architecture | readings | equal | skipped | operations read | unchanged | remark |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, outcomes),
        *_reasons("Leaf readings that were skipped", _of_leaves(outcomes)),
        *_reasons("Other layers that were skipped", _of_others(outcomes)),
    ]


def totals(outcomes: list[Outcome]) -> list[str]:
    """What is asked of the sweep, and what came."""
    leaves, equal = sum(o.leaves for o in outcomes), sum(o.equal for o in outcomes)
    wrong = sum(len(o.wrong) for o in outcomes)
    claims = [true for outcome in outcomes for true in outcome.claims.values()]
    return [
        "| what | asked | found |",
        "| --- | --- | --- |",
        f"| architectures | at least 60 | {len(outcomes)} |",
        f"| leaf readings that are read | at least {ASKED:.0%} | {equal + wrong} of {leaves} "
        f"({(equal + wrong) / max(leaves, 1):.1%}) |",
        f"| of those, not equal to plain hooks | 0 | {wrong} |",
        f"| readings neither read nor skipped with a reason | 0 | {sum(len(o.absent) for o in outcomes)} |",
        f"| reasons given for outputs of leaf modules that plain hooks contradict | 0 | "
        f"{sum(true is False for true in claims)} of {sum(true is not None for true in claims)} |",
        f"| readings without a batch axis that are read | 0 | {sum(len(o.unexpected) for o in outcomes)} |",
        f"| readings of which plain hooks see another value alone than in a batch | | "
        f"{sum(len(o.batch_dependent) for o in outcomes)} |",
        f"| models that were refused | | {sum(bool(o.refusal) for o in outcomes)} |",
        f"| models that were changed | 0 | {sum(bool(o.changed) for o in outcomes)} |",
        f"| errors that are not ours | 0 | {sum(bool(o.crash) for o in outcomes)} |",
    ]


def _row(outcome: Outcome) -> str:
    cells = [
        outcome.library,
        outcome.name,
        *map(str, (outcome.leaves, outcome.equal, len(outcome.skipped), outcome.operations)),
        "no" if outcome.changed else "yes",
        _cell("; ".join(_remarks(outcome))),
    ]
    return f"| {' | '.join(cells)} |"


def _remarks(outcome: Outcome) -> Iterator[str]:
    yield from filter(None, (outcome.crash, outcome.refusal))
    if outcome.draws:
        yield "it draws random numbers, as another seed shows"
    yield from (f"changed: {what}" for what in outcome.changed)
    yield from (f"`{name}`: {what}" for name, what in list(outcome.wrong.items())[:2])
    for what, layers in (
        ("neither read nor skipped", outcome.absent),
        ("read though it has no batch axis", outcome.unexpected),
        ("plain hooks see another value alone than in a batch", outcome.batch_dependent),
        ("skipped for a reason that plain hooks contradict", outcome.untrue),
    ):
        if layers:
            more = f" and {len(layers) - 2} more" if len(layers) > 2 else ""
            yield f"{what}: {', '.join(layers[:2])}{more}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]


def _of_leaves(outcomes: Iterable[Outcome]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        for reason in outcome.skipped.values():
            found.setdefault(_kind(reason), Counter())[outcome.name] += 1
    return found


def _of_others(outcomes: Iterable[Outcome]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        for reason, count in outcome.others.items():
            found.setdefault(_kind(reason), Counter())[outcome.name] += count
    return found


def _kind(reason: str) -> str:
    """A reason without its numbers of rows."""
    return re.sub(r"has \d+ rows", "has k rows", reason)


def _reasons(title: str, found: dict[str, Counter[str]]) -> list[str]:
    lines = ["", f"## {title}", "", "| reason | layers | architectures |", "| --- | --- | --- |"]
    for reason, names in sorted(found.items(), key=lambda entry: -entry[1].total()):
        shown = [*names][:6]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        lines.append(f"| {_cell(reason)} | {names.total()} | {', '.join(shown)}{more} |")
    return lines if found else []
