"""What a change costs: the contenders of `benchmarks.overhead`, timed in turn at two commits.

    python -m benchmarks.between COMMIT [--pairs 15] [--cases CNN MLP] [--out FILE]

COMMIT is checked out beside the working tree, and a process of each stays alive: one time there, one time
here, and so on. Times are CPU seconds of the process, on one thread, so that other load on the machine
matters less. The mean of the pairs' logarithmic ratios has a 95 % interval by Student's t; its ends are
printed as ratios here / there.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
# Runs in either tree: prints the contenders, then times each one that is requested.
_WORKER = """
import sys, time, torch
torch.set_num_threads(1)
from benchmarks.networks import case
from benchmarks.overhead import contenders
actions = contenders(*case(sys.argv[1]))
for action in actions.values():
    action()
    action()
print("|".join(title.strip() for title in actions), flush=True)
for line in sys.stdin:
    times = []
    for _ in range(2):
        started = time.process_time()
        list(actions.values())[int(line)]()
        times.append(time.process_time() - started)
    print(min(times), flush=True)
"""


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of a commit, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=_ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=_ROOT, check=True)


def worker(tree: Path, name: str) -> subprocess.Popen[str]:
    """A process that times the contenders of one network in that tree."""
    path = os.pathsep.join([str(tree / "src"), str(tree)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _WORKER, name]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tree, env=environment, stdin=pipe, stdout=pipe, text=True)


def timed(process: subprocess.Popen[str], number: int) -> float:
    """Seconds that the contender takes there."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(number, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def ratios(tree: Path, name: str, pairs: int) -> dict[str, np.ndarray]:
    """By contender: (pair,) time here over time there."""
    here, there = worker(_ROOT, name), worker(tree, name)
    assert here.stdout is not None
    assert there.stdout is not None
    titles = here.stdout.readline().strip().split("|")
    there.stdout.readline()
    found = np.array([[timed(here, k) / timed(there, k) for k in range(len(titles))] for _ in range(pairs)]).T
    for process in (here, there):
        process.terminate()
    return dict(zip(titles, found, strict=True))


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean of the ratios, and the ends of its 95 % interval."""
    from scipy import stats

    logs = np.log(values)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return tuple(float(np.exp(logs.mean() + side * half)) for side in (0, -1, 1))  # type: ignore[return-value]


def main() -> None:
    """Run what the arguments ask for."""
    from benchmarks.networks import CASES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{platform.machine()}, 1 thread, {arguments.pairs} pairs; CPU times relative to {arguments.commit}"
    ]
    lines += ["", "| network | what | ratio | 95 % interval |", "| --- | --- | --- | --- |"]
    with checkout(arguments.commit) as tree:
        for name in arguments.cases:
            for title, values in ratios(tree, name, arguments.pairs).items():
                mean, low, high = interval(values)
                lines.append(f"| {name} | {title} | {mean:.3f} | {low:.3f} to {high:.3f} |")
                print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
