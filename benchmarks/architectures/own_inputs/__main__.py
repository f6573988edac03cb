"""Measure every architecture on its own inputs and compare it with plain hooks.

    python -m benchmarks.architectures.own_inputs [--only GLOB ...] [--out FILE]

Requires transformers, timm and torch_geometric, and sevenn for the last model; nothing is downloaded. The
section is written below the existing contents of FILE, so run `benchmarks.architectures` first. The exit code
is 1 if any requirement fails.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from fnmatch import fnmatchcase

import torch

from benchmarks import command_line
from benchmarks.architectures.own_inputs.catalogue import OwnInputs
from benchmarks.architectures.own_inputs.comparison import Outcome, examine
from benchmarks.architectures.own_inputs.graphs import graphs, potential
from benchmarks.architectures.own_inputs.page import TITLE, section, totals
from benchmarks.architectures.own_inputs.perception import perception
from benchmarks.architectures.own_inputs.text import text


def every() -> list[OwnInputs]:
    """Return all architectures in the order of the page."""
    found = [*text(), *perception(), *graphs()]
    return [*found, potential()] if importlib.util.find_spec("sevenn") else found


def _summary(outcome: Outcome) -> str:
    counts = f"{outcome.equal} of {outcome.readings} equal, {len(outcome.skipped)} skipped"
    details = [outcome.crash, outcome.refusal, *outcome.absent[:3], *outcome.notes]
    details += [f"{name}: {difference}" for name, difference in list(outcome.wrong.items())[:3]]
    details += sorted({f"{reason}" for reason in outcome.skipped.values()})[:6]
    lines = "".join(f"\n    {detail[:240]}" for detail in details if detail)
    state = "ok" if outcome.passed else "FAILED"
    return f"{state} {outcome.own.library} {outcome.own.name}: {counts}, {outcome.seconds:.1f} s{lines}"


def main() -> int:
    """Run the sweep."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--only", nargs="+", default=["*"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    outcomes = []
    for own in every():
        if any(fnmatchcase(own.name, pattern) for pattern in arguments.only):
            outcomes.append(examine(own))
            print(_summary(outcomes[-1]), flush=True)
    print("\n".join(totals(outcomes)))
    if arguments.out:
        above = arguments.out.read_text(encoding="utf-8").split(TITLE)[0] if arguments.out.exists() else ""
        arguments.out.write_text(above + "\n".join(section(outcomes)) + "\n", encoding="utf-8")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
