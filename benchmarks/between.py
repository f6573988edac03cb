"""Compare the speed of two commits on the measurements of `benchmarks.overhead`.

    python -m benchmarks.between COMMIT [--pairs 15] [--cases CNN MLP] [--out FILE]

COMMIT is checked out into a temporary folder, and two processes, one per tree, take turns. Times are
CPU seconds on one thread, so that other load on the machine matters less. The geometric mean of the ratios
(working tree / COMMIT) is printed with its 95 % t interval.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import command_line

_ROOT = Path(__file__).resolve().parent.parent
# Runs in either tree: prints the titles of the measurements, then times those that are requested.
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
    """Check out a commit into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=_ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=_ROOT, check=True)


def worker(tree: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that times the measurements of one network in a tree."""
    path = os.pathsep.join([str(tree / "src"), str(tree)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _WORKER, name]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tree, env=environment, stdin=pipe, stdout=pipe, text=True)


def timed(process: subprocess.Popen[str], number: int) -> float:
    """Return the seconds that a measurement takes in a process."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(number, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def ratios(tree: Path, name: str, pairs: int) -> dict[str, np.ndarray]:
    """Return, for each measurement, the ratio of times (working tree / other tree) of each pair."""
    here, there = worker(_ROOT, name), worker(tree, name)
    assert here.stdout is not None
    assert there.stdout is not None
    titles = here.stdout.readline().strip().split("|")
    there.stdout.readline()
    found = []
    for pair in range(pairs):
        found.append([timed(here, k) / timed(there, k) for k in range(len(titles))])
        print(f"{name}, pair {pair + 1}: {np.round(found[-1], 3)}", file=sys.stderr, flush=True)
    for process in (here, there):
        process.terminate()
    return dict(zip(titles, np.array(found).T, strict=True))


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the geometric mean of ratios and its 95 % interval."""
    from scipy import stats

    logs = np.log(values)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return tuple(float(np.exp(logs.mean() + side * half)) for side in (0, -1, 1))  # type: ignore[return-value]


def main() -> None:
    """Compare the requested networks."""
    from benchmarks.networks import CASES

    parser = command_line.parser(__doc__)
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    arguments = parser.parse_args()
    lines = [
        f"{platform.machine()}, 1 thread, {arguments.pairs} pairs; CPU times relative to {arguments.commit}"
    ]
    lines += ["", "| network | measurement | ratio | 95 % interval |", "| --- | --- | --- | --- |"]
    with checkout(arguments.commit) as tree:
        for name in arguments.cases:
            for title, values in ratios(tree, name, arguments.pairs).items():
                mean, low, high = interval(values)
                lines.append(f"| {name} | {title} | {mean:.3f} | {low:.3f} to {high:.3f} |")
    command_line.publish("\n".join(lines), arguments.out)


if __name__ == "__main__":
    main()
