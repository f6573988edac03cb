"""Change files of every kind in 300 seeded ways, and count what reading them gives.

    python -m benchmarks.mutations [--kinds KIND ...] [--changes 300] [--seed 0] [--out FILE] [--verbose]
    python -m benchmarks.mutations --hostile

Each file is read in a forked process with 1 GiB of memory above that at the start, and 5 s. A reading is
refused by an error of one line that code of the package raised, gives the same numbers, or gives other
numbers. Files with digests must never give another number. Files of other formats have none, so a change of
their values cannot be noticed, except in compressed ones; known data sets are then named as not the original.
In no case may an error of a library come through, or a reading take longer.

With `--hostile`, files written to hang or to exhaust memory are read instead, one line each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.mutations.hostile import HOSTILE
from benchmarks.mutations.kinds import KINDS
from benchmarks.mutations.sandbox import DIED, FOREIGN, OTHER, OUTCOMES, REFUSED, SAME, SLOW, read
from benchmarks.mutations.trial import Trial, tried


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    given = parser.parse_args()
    lines, bad = _hostile() if given.hostile else _mutated(given)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    sys.exit(1 if bad else 0)


def _mutated(given: argparse.Namespace) -> tuple[list[str], int]:
    lines, bad = [], 0
    head = f"| {'file':<28} | digests | " + " | ".join(OUTCOMES) + " | slowest (s) |"
    for line in (head, "|" + "---|" * (len(OUTCOMES) + 3)):
        _show(lines, line)
    for name in given.kinds:
        with tempfile.TemporaryDirectory() as scratch:
            trials = tried(KINDS[name], Path(scratch), changes=given.changes, seed=given.seed)
        counts = {outcome: sum(trial.outcome == outcome for trial in trials) for outcome in OUTCOMES}
        cells = [f"{counts[outcome]:>{len(outcome)}}" for outcome in OUTCOMES]
        slowest = max(trial.seconds for trial in trials)
        sealed = KINDS[name].sealed
        _show(lines, f"| {name:<28} | {'yes' if sealed else 'no':<7} | {' | '.join(cells)} | {slowest:.2f} |")
        bad += sum(_is_bad(trial, sealed) for trial in trials)
        for trial in trials:
            if given.verbose and _is_bad(trial, sealed):
                print(f"    {trial.change} of {trial.file}: {trial.outcome}: {trial.text}")
    return lines, bad


def _is_bad(trial: Trial, sealed: bool) -> bool:
    return trial.outcome in (FOREIGN, SLOW, DIED) or (sealed and trial.outcome == OTHER)


def _hostile() -> tuple[list[str], int]:
    lines, bad = [], 0
    for name, (write, use) in HOSTILE.items():
        with tempfile.TemporaryDirectory() as scratch:
            write(Path(scratch))
            found = read(lambda use=use, scratch=scratch: use(Path(scratch)))
            text = found.text.replace(scratch, "")
        outcome = "ACCEPTED" if found.outcome == SAME else found.outcome
        bad += outcome != REFUSED
        size = f"{found.bytes / 1e6:5.0f} MB"
        _show(lines, f"{name:<40} {outcome:<13} {found.seconds:5.2f} s {size}  {text[:170]}")
    return lines, bad


def _show(lines: list[str], line: str) -> None:
    print(line, flush=True)
    lines.append(line)


if __name__ == "__main__":
    main()
