"""Create the section on models with their own inputs: totals, a row per architecture, skipped readings."""

from __future__ import annotations

import re
from collections import Counter

from benchmarks.architectures.own_inputs.comparison import Outcome
from benchmarks.architectures.page import ASKED, cell, reasons_table

TITLE = "# The same architectures with their own inputs"


def totals(outcomes: list[Outcome]) -> list[str]:
    """Return a table of the requirements and the outcomes."""
    readings, equal = sum(o.readings for o in outcomes), sum(o.equal for o in outcomes)
    return [
        "| | required | found |",
        "| --- | --- | --- |",
        f"| architectures | at least 80 | {len(outcomes)} |",
        f"| leaf readings that are read and equal | at least {ASKED:.0%} | {equal} of {readings} "
        f"({equal / max(readings, 1):.1%}) |",
        f"| of these, pooled | | {sum(o.pooled for o in outcomes)} |",
        f"| read, but not equal | 0 | {sum(len(o.wrong) for o in outcomes)} |",
        f"| skipped with a reason | | {sum(len(o.skipped) for o in outcomes)} |",
        f"| of these, skipped because they depend on the batch, as plain hooks confirm | all | "
        f"{sum(len(o.depend) for o in outcomes)} of {sum(o.said_to_depend for o in outcomes)} |",
        f"| neither read nor skipped | 0 | {sum(len(o.absent) for o in outcomes)} |",
        f"| rejected models, all of which draw random numbers | | {sum(bool(o.refusal) for o in outcomes)} |",
        f"| other errors | 0 | {sum(bool(o.crash) for o in outcomes)} |",
    ]


def section(outcomes: list[Outcome]) -> list[str]:
    """Return the lines of the section in Markdown."""
    kinds = [(o.own.name, Counter(map(_kind, o.skipped.values()))) for o in outcomes]
    others = [(o.own.name, Counter(map(_kind, o.others.elements()))) for o in outcomes]
    return [
        TITLE,
        "",
        "Every model gets samples in the form that its library uses: texts, recordings and graphs of "
        "different sizes, padded or collated in `preprocess=`; mappings with masks; images with texts; "
        "molecules. There are 12 samples and three elements (two for spectrograms and series), some of "
        "which change the size of a sample. Written by `python -m benchmarks.architectures.own_inputs`.",
        "",
        "A *reading* is a floating-point tensor of a leaf module with an axis of samples, or with rows of "
        "nodes or edges, as found by plain forward hooks in batches of 12, 7 and 5 samples. If it has a "
        "padded axis, or rows of nodes or edges, it is pooled by its mean: `iv.Pool` with the mask or "
        "index of the batch. It is *equal* if the transformation, sample and normalized variance of every "
        "unit, and of the layer, agree to 1e-6 with those of plain hooks on the same batch, in float64 (in "
        "float32 for SevenNet and GPT-Neo, which compute in float32 anyway). Readings of rejected models "
        "count as not read.",
        "",
        "Texts are padded to the longest text of the batch. They are padded to a fixed length for models in "
        "which padding affects the other tokens (through convolutions, Fourier transforms or shortened "
        "sequences), that accept no mask, or that put the tokens of all samples on one axis.",
        "",
        *totals(outcomes),
        "",
        "| library | architecture | inputs | readings | pooled | equal | skipped | operations | remark |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, outcomes),
        *reasons_table("Skipped readings of the models' own inputs", kinds),
        *reasons_table("Other skipped layers of the models' own inputs", others),
    ]


def _kind(reason: str) -> str:
    """Return a reason without the shapes and names of one model."""
    reason = re.sub(r"\(\d+(, \d+)*,?\) and \(\d+(, \d+)*,?\) for \d+ inputs", "(…) and (…)", reason)
    reason = re.sub(r"(the|all fit the) \d+ (rows|entries|samples)", r"\1 k \2", reason)
    return re.sub(r"shape \([\d, ]+\)", "shape (…)", reason)


def _row(outcome: Outcome) -> str:
    own, wrong = outcome.own, list(outcome.wrong.items())[:2]
    remarks = [outcome.crash, outcome.refusal, *(f"`{name}`: {what}" for name, what in wrong)]
    remarks += [f"neither read nor skipped: `{name}`" for name in outcome.absent[:2]]
    counts = (outcome.readings, outcome.pooled, outcome.equal, len(outcome.skipped), outcome.operations)
    cells = [own.library, own.name, own.kind, *map(str, counts), cell("; ".join(filter(None, remarks)))]
    return f"| {' | '.join(cells)} |"
