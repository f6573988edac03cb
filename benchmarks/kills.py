"""Kill commands at random moments, restart them until they finish, and compare with undisturbed runs.

    python -m benchmarks.kills --kills 100 --seed 0

Each command runs in a child process that gets SIGKILL at a moment drawn uniformly over the duration of an
undisturbed run. After each kill, whatever can be taken for a result must be complete: the new one or, with
--overwrite, the older one. After the run that finishes, every file must be the same as without kills, except
for times, and no other file may be left. Exits with 1 if anything differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.command_line import parser, publish
from invariscope.common.publishing import settle

MEASURE = ["measure", "zoo:simple_conv(filters=2)", "mnist_subset", "-t", "quarter_turns", "--samples", "64"]
TRAIN = ["train", "simple_conv(filters=2)", "mnist_subset", "--samples", "256", "--epochs", "3", "--monitor"]
MARKS = ("result.json", "shard.json", "card.json", "cell.json")
# With digests of documents, because they cover the times in these.
TIMES = {"sha256", "digests", "seconds", "created", "finished", "before", "during", "times"}
UNCOMPARED = {".html", ".md", ".txt", ".png", ".svg"}  # pages contain dates, logs contain times
RECIPE = """
title = "One network"
source = "nobody"
about = "Small enough to be killed often."

[scales]
paper = "all of it"

[[cells]]
kind = "train"
name = "train"

[cells.options]
data = "mnist_subset"
network = "simple_conv"
network_options = { filters = 2 }
epochs = 2
samples = 128

[[cells]]
kind = "measure"
name = "variance"

[cells.options]
model = "train"
data = "mnist_subset"
samples = 64
transform = "quarter_turns"
measures = ["normalized_variance"]
"""


@dataclass
class Job:
    """A command whose runs are killed.

    Args:
        name: its name in the table.
        action: what the child process does, given the folder to work in.
        share: share of all kills.
        chain: number of kills in a row, before a run may finish.
        older: an older result to be replaced, and its place in the folder; or None.
        inputs: a folder to copy into the folder to work in; or None.
    """

    name: str
    action: Callable[[Path], None]
    share: float
    chain: int = 5
    older: tuple[Path, str] | None = None
    inputs: Path | None = None
    kills: int = 0
    finished: int = 0
    identical: int = 0
    faults: list[str] = field(default_factory=list)

    def prepare(self, folder: Path) -> Path:
        """Make the folder to work in, with inputs and the older result."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if self.inputs is not None:
            shutil.copytree(self.inputs, folder, dirs_exist_ok=True)
        if self.older is not None:
            shutil.copytree(self.older[0], folder / self.older[1])
        return folder


def command(*words: str) -> Callable[[Path], None]:
    """Return an action that runs a command of invariscope in the folder."""

    def run(folder: Path) -> None:
        from invariscope.cli.app import app

        os.chdir(folder)
        app(list(words))

    return run


def saving(first: Path, second: Path) -> Callable[[Path], None]:
    """Return an action that replaces one result by another, back and forth, 21 times."""

    def run(folder: Path) -> None:
        import invariscope as iv

        results = [iv.load(first), iv.load(second)]
        for number in range(21):
            results[number % 2].save(folder / "run", overwrite=True)

    return run


def started(action: Callable[[Path], None], folder: Path) -> int:
    """Run an action in a child process with a log beside the folder, and return the process id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 1
    try:
        log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        action(folder)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(pid: int, after_s: float | None = None) -> int | None:
    """Wait for a child, kill it after some seconds, and return its exit code; None if it was killed."""
    if after_s is not None:
        deadline = time.monotonic() + after_s
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.0005)
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == -signal.SIGKILL else code


def contents(folder: Path, *, hidden: bool = True) -> dict[str, str]:
    """Return a digest of each file without its times, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or (not hidden and any(part.startswith(".") for part in name.parts)):
            continue
        content = b"" if path.suffix in UNCOMPARED else path.read_bytes()
        if path.suffix == ".json":
            content = json.dumps(_timeless(json.loads(content))).encode()
        found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def _timeless(document: Any) -> Any:
    """Return a document without times, and without the digests of files that contain times."""
    if isinstance(document, list):
        return [_timeless(entry) for entry in document]
    if not isinstance(document, dict):
        return document
    kept = {key: value for key, value in document.items() if key not in TIMES}
    if "files" in kept and "kind" in kept:  # the manifest of a cell
        kept["files"] = sorted(kept["files"])
    return {key: _timeless(value) for key, value in kept.items()}


def published(folder: Path) -> dict[str, dict[str, str]]:
    """Return the contents of all that can be taken for a result: folders with a file that marks them."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            settle(path)
    visible = [path for path in sorted(folder.rglob("*.json")) if path.name in MARKS]
    places = {path.parent for path in visible if ".unfinished" not in str(path) and "/." not in str(path)}
    return {str(place.relative_to(folder)): contents(place, hidden=False) for place in places}


def test(job: Job, kills: int, draw: random.Random, work: Path) -> None:
    """Kill runs of a job, and count what happens."""
    folder, whole = work / "killed", job.prepare(work / "whole")
    older = published(whole) if job.older is not None else {}
    first, _ = undisturbed(job, whole)
    expected, seconds = undisturbed(job, whole)
    results = published(whole)
    job.faults += _differences("two undisturbed runs", first, expected)
    while job.kills < kills:
        job.prepare(folder)
        code: int | None = None
        for _ in range(min(job.chain, kills - job.kills)):
            code = ended(started(job.action, folder), draw.uniform(0, 1.02 * seconds))
            if code is not None:
                break
            job.kills += 1
            for place, found in published(folder).items():
                if found not in (results.get(place), older.get(place)):
                    job.faults.append(f"half-written after kill {job.kills}: {place}")
        if code is None:
            code = ended(started(job.action, folder))
        said = Path(f"{folder}.log").read_text()
        if code == 0 or "already holds" in said:  # killed after its result was published
            job.finished += 1
            job.identical += not (wrong := _differences("finished", expected, contents(folder)))
            job.faults += wrong
        else:
            job.faults.append(f"ends with code {code}: {said[-300:]}")


def undisturbed(job: Job, folder: Path) -> tuple[dict[str, str], float]:
    """Return the contents of a folder after a run without kills, and the duration of the run in seconds."""
    job.prepare(folder)
    since = time.monotonic()
    if code := ended(started(job.action, folder)):
        raise RuntimeError(f"{job.name} fails with code {code}: {Path(f'{folder}.log').read_text()[-500:]}")
    return contents(folder), time.monotonic() - since


def _differences(what: str, expected: dict[str, str], found: dict[str, str]) -> list[str]:
    names = sorted(set(expected.items()) ^ set(found.items()))
    return [f"{what}: {name}" for name in sorted({name for name, _ in names})]


def jobs(work: Path) -> list[Job]:
    """Return the jobs, after making what they start from."""
    made = work / "made"
    made.mkdir()
    (made / "recipe.toml").write_text(RECIPE)
    for words in (
        [*MEASURE, "--seed", "1", "--out", "older"],
        [*MEASURE, "--seed", "2", "--out", "newer"],
        *([*MEASURE, "--shard", f"{k}/2", "--out", "parts/shards"] for k in range(2)),
    ):
        if ended(started(command(*words), made)):
            raise RuntimeError(f"{' '.join(words)} fails: {Path(f'{made}.log').read_text()[-500:]}")
    recipe = ["reproduce", str(made / "recipe.toml"), "--out", "cells", "--threads", "1"]
    older = (made / "older", "run")
    save = saving(made / "newer", made / "older")
    return [
        Job("measure", command(*MEASURE, "--out", "run"), 0.15),
        Job("measure --overwrite", command(*MEASURE, "--out", "run", "--overwrite"), 0.15, older=older),
        Job("measure --shard", command(*MEASURE, "--shard", "0/2", "--out", "shards"), 0.1),
        Job("merge", command("merge", "shards", "--out", "run"), 0.1, inputs=made / "parts"),
        Job("train --resume", command(*TRAIN, "--out", "net", "--resume", "--overwrite"), 0.15),
        Job("reproduce", command(*recipe), 0.05),
        Job("save(overwrite=True)", save, 0.3, older=older),
    ]


def table(found: list[Job]) -> str:
    """Return the counts as a Markdown table, followed by the faults."""
    head = ["| what | kills | finished | identical | faults |", "|---|---|---|---|---|"]
    rows = [f"| {j.name} | {j.kills} | {j.finished} | {j.identical} | {len(j.faults)} |" for j in found]
    sums = [sum(getattr(job, name) for job in found) for name in ("kills", "finished", "identical")]
    total = f"| all | {' | '.join(map(str, sums))} | {sum(len(job.faults) for job in found)} |"
    faults = [f"- {job.name}: {fault}" for job in found for fault in dict.fromkeys(job.faults)]
    return "\n".join([*head, *rows, total, *faults])


def main() -> int:
    """Run all jobs, print the table, and return the exit code."""
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=100, help="number of kills of all jobs together")
    options.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    options.add_argument("--only", default="", help="only the jobs whose name contains this")
    given = options.parse_args()
    import invariscope.cli.app
    import invariscope.engine.api
    import invariscope.report  # noqa: F401  # imported once, so that kills fall into the work of the children

    with tempfile.TemporaryDirectory(prefix="kills-") as work:
        found = [job for job in jobs(Path(work)) if given.only in job.name]
        for number, job in enumerate(found):
            draw = random.Random(f"{given.seed} {number}")
            test(job, max(1, round(given.kills * job.share)), draw, Path(work))
            print(f"{job.name}: {job.kills} kills, {len(job.faults)} faults", file=sys.stderr, flush=True)
    publish(table(found), given.out)
    return int(any(job.faults or job.identical < job.finished for job in found))


if __name__ == "__main__":
    sys.exit(main())
