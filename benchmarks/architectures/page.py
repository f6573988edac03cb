"""Create the page of the sweep: totals, one row per architecture, and the reasons for skipped layers."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from benchmarks.architectures.comparison import Outcome
from invariscope.common.wording import listed

LIBRARIES = ("torch", "transformers", "timm", "torch_geometric")
ASKED = 0.95


def page(outcomes: list[Outcome]) -> list[str]:
    """Return the lines of the page in Markdown."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return [
        "# Architectures of other libraries",
        "",
        f"Written by `python -m benchmarks.architectures` with {versions}. Models are small and have random "
        "weights; there are 12 samples and two or three elements. The list of architectures was fixed before "
        "the first run. One setting was added later: mixtures of experts loop over the experts, because the "
        "grouped matrix product does not support float64.",
        "",
        "A *reading* is a floating-point tensor with a batch axis that a leaf module returns, as found by "
        "plain forward hooks at batch sizes of 12, 7 and 5. It is *equal* if the transformation, sample "
        "and normalized variance of every unit, and of the layer, agree to 1e-6 with those of one forward "
        "pass per sample and element in float64. A fresh model is also measured in float32, before its "
        "first forward pass. This model is *unchanged* if its output afterwards equals, bit for bit, that "
        "of a copy that was never measured, and if it has the same hooks, attributes, weights, buffers and "
        "modes as the copy has before or after a forward pass.",
        "",
        "The reasons given for skipped outputs of leaf modules are also checked with plain hooks. A "
        "reading is *different alone and in a batch* if the values that plain hooks record for a single "
        "sample and for a batch differ by more than 1e-4 of its rms. No value is right in that case, so "
        "the reading counts as not read. This happens in GraphUNet: one of its poolings ranks nodes with "
        "equal scores, so rounding decides which of them it keeps.",
        "",
        *totals(outcomes),
        "",
        "| library | architecture | readings | equal | skipped | operations read | unchanged | remark |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, outcomes),
        *reasons_table("Skipped leaf readings", [(o.name, Counter(o.skipped.values())) for o in outcomes]),
        *reasons_table("Other skipped layers", [(o.name, o.others) for o in outcomes]),
    ]


def totals(outcomes: list[Outcome]) -> list[str]:
    """Return a table of the requirements and the outcomes."""
    leaves, equal = sum(o.leaves for o in outcomes), sum(o.equal for o in outcomes)
    wrong = sum(len(o.wrong) for o in outcomes)
    claims = [true for outcome in outcomes for true in outcome.claims.values()]
    return [
        "| | required | found |",
        "| --- | --- | --- |",
        f"| architectures | at least 60 | {len(outcomes)} |",
        f"| leaf readings that are read | at least {ASKED:.0%} | {equal + wrong} of {leaves} "
        f"({(equal + wrong) / max(leaves, 1):.1%}) |",
        f"| of these, not equal to plain hooks | 0 | {wrong} |",
        f"| readings neither read nor skipped with a reason | 0 | {sum(len(o.absent) for o in outcomes)} |",
        f"| reasons given for outputs of leaf modules that plain hooks contradict | 0 | "
        f"{sum(true is False for true in claims)} of {sum(true is not None for true in claims)} |",
        f"| tensors without a batch axis that are read | 0 | {sum(len(o.unexpected) for o in outcomes)} |",
        f"| readings that are different alone and in a batch | | "
        f"{sum(len(o.batch_dependent) for o in outcomes)} |",
        f"| rejected models | | {sum(bool(o.refusal) for o in outcomes)} |",
        f"| changed models | 0 | {sum(bool(o.changed) for o in outcomes)} |",
        f"| other errors | 0 | {sum(bool(o.crash) for o in outcomes)} |",
    ]


def _row(outcome: Outcome) -> str:
    cells = [
        outcome.library,
        outcome.name,
        *map(str, (outcome.leaves, outcome.equal, len(outcome.skipped), outcome.operations)),
        "no" if outcome.changed else "yes",
        cell("; ".join(_remarks(outcome))),
    ]
    return f"| {' | '.join(cells)} |"


def _remarks(outcome: Outcome) -> Iterator[str]:
    yield from filter(None, (outcome.crash, outcome.refusal))
    if outcome.draws:
        yield "it draws random numbers"
    yield from (f"changed: {what}" for what in outcome.changed)
    yield from (f"`{name}`: {what}" for name, what in list(outcome.wrong.items())[:2])
    for what, layers in (
        ("neither read nor skipped", outcome.absent),
        ("read although it has no batch axis", outcome.unexpected),
        ("different alone and in a batch", outcome.batch_dependent),
        ("skipped for a reason that plain hooks contradict", outcome.untrue),
    ):
        if layers:
            yield f"{what}: {listed(layers, limit=2)}"


def cell(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")[:300]


def reasons_table(title: str, skipped: Iterable[tuple[str, Counter[str]]]) -> list[str]:
    """Return a section that lists reasons, given their counts by architecture."""
    found: dict[str, Counter[str]] = {}
    for name, reasons in skipped:
        for reason, count in reasons.items():
            kind = re.sub(r"has \d+ rows", "has k rows", reason)
            found.setdefault(kind, Counter())[name] += count
    lines = ["", f"## {title}", "", "| reason | layers | architectures |", "| --- | --- | --- |"]
    for reason, names in sorted(found.items(), key=lambda entry: -entry[1].total()):
        lines.append(f"| {cell(reason)} | {names.total()} | {listed(names, limit=6)} |")
    return lines if found else []
