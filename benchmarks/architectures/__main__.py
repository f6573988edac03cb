"""Measure every architecture and compare it with plain hooks.

    python -m benchmarks.architectures [--only GLOB ...] [--out FILE]

Requires transformers, timm and torch_geometric, which `make test-models` installs; nothing is downloaded. The
exit code is 1 if any requirement fails.
"""

from __future__ import annotations

import logging
import sys
from fnmatch import fnmatchcase

import torch

from benchmarks import command_line
from benchmarks.architectures.comparison import Outcome, examine
from benchmarks.architectures.every import every
from benchmarks.architectures.page import page, totals


def _summary(outcome: Outcome) -> str:
    state = "ok" if outcome.passed else "FAILED"
    counts = f"{outcome.equal} of {outcome.leaves} equal, {len(outcome.skipped)} skipped"
    details = [
        outcome.crash,
        outcome.refusal,
        *outcome.changed,
        *outcome.absent[:3],
        *outcome.unexpected[:3],
        *outcome.untrue[:3],
        *outcome.warned,
    ]
    details += [f"{name}: {difference}" for name, difference in list(outcome.wrong.items())[:3]]
    details += [f"{name}: different alone and in a batch" for name in outcome.batch_dependent]
    details += [f"not checked: {claim}" for claim, true in outcome.claims.items() if true is None]
    details += sorted(set(outcome.skipped.values()))
    lines = "".join(f"\n    {detail}" for detail in details if detail)
    return f"{state} {outcome.library} {outcome.name}: {counts}, {outcome.seconds:.1f} s{lines}"


def main() -> int:
    """Run the sweep."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--only", nargs="+", default=["*"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    outcomes = []
    for architecture in every():
        if any(fnmatchcase(architecture.name, pattern) for pattern in arguments.only):
            outcomes.append(examine(architecture))
            print(_summary(outcomes[-1]), flush=True)
    print("\n".join(totals(outcomes)))
    if arguments.out:
        arguments.out.write_text("\n".join(page(outcomes)) + "\n", encoding="utf-8")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
