"""Split a measurement over the processes of a `torch.distributed` run; each gets the merged result."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from invariscope.engine.sharding.merging import COMPARED, merged, refuse_foreign
from invariscope.engine.sharding.processes import Team
from invariscope.engine.sharding.shards import share_of
from invariscope.engine.task import Task
from invariscope.results.result import Result
from invariscope.results.shard import Shard, plain
from invariscope.results.storage import JSON_NAME, MAPS_NAME, load, save, shard_of


def measured_together(team: Team, make: Callable[[], Task], started: float) -> Result:
    """Measure this process's share, and return the result of all processes.

    Args:
        make: returns the task of this process.
        started: when the measurement started, from `time.perf_counter`.
    Raises:
        ValueError: the processes do not measure the same.
        RuntimeError: another process failed or ended.
    """
    with team.watched():
        task = make()
        part = share_of(task, (team.rank, team.size), started, stored=False, watch=team.refuse_lost)
    shard = shard_of(part)
    with team.exchanging():
        _refuse_different(team, shard)
        return _first(team, shard, task) if team.rank == 0 else _other(team, shard)


def _refuse_different(team: Team, shard: Shard) -> None:
    """Raise ValueError in every process if two of them do not measure the same."""
    own = {name: shard.document[name] for name in COMPARED}
    found = team.everyone(json.dumps(own))
    refuse_foreign([Shard(rank, team.size, json.loads(text), {}) for rank, text in enumerate(found)])


def _first(team: Team, shard: Shard, task: Task) -> Result:
    """Merge the shards of all processes as they arrive, and send the result to the others."""
    loads: list[Callable[[], Shard]] = [lambda: shard]
    loads += [partial(_received, team, rank) for rank in range(1, team.size)]
    try:
        result = merged(loads, task.measures)
    except ValueError as error:
        for rank in range(1, team.size):
            team.send(json.dumps({"error": str(error)}).encode(), rank)
        raise
    with tempfile.TemporaryDirectory() as scratch:
        folder = save(result, Path(scratch) / "run")
        texts, maps = ((folder / name).read_bytes() for name in (JSON_NAME, MAPS_NAME))
    for rank in range(1, team.size):
        team.send(json.dumps({}).encode(), rank)
        team.send(texts, rank)
        team.send(maps, rank)
    return result


def _other(team: Team, shard: Shard) -> Result:
    """Send a shard to the first process, and return the result that it sends back."""
    from safetensors.numpy import save as in_bytes

    team.send(json.dumps(shard.document).encode(), 0)
    team.send(in_bytes(dict(shard.arrays)), 0)
    said: dict[str, Any] = json.loads(team.receive(0))
    if "error" in said:
        raise ValueError(said["error"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in (JSON_NAME, MAPS_NAME):
            (folder / name).write_bytes(team.receive(0))
        return load(folder)


def _received(team: Team, rank: int) -> Shard:
    from safetensors.numpy import load as of_bytes

    document = plain(json.loads(team.receive(rank)))
    return Shard(rank, team.size, document, of_bytes(team.receive(rank)))
