"""Join the shards of a measurement to the result of a single process."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, cast

from invariscope.common.wording import listed
from invariscope.data.window import added
from invariscope.engine.annotating import annotated
from invariscope.engine.assemble import assembled
from invariscope.engine.extras.compact import compacted
from invariscope.engine.extras.examples import kept_orbit
from invariscope.engine.options import Options
from invariscope.engine.origin import origin_of_merged
from invariscope.engine.sharding.joining import dead_of, joined, run_of, statistics_of
from invariscope.engine.sharding.shards import measure_of
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.measures.base import Measure, told_apart
from invariscope.results.result import Result
from invariscope.results.shard import Shard, load_shard
from invariscope.results.storage import shard_of

_REMEDIES = {
    "memories": "give all shards the same memory_gb=",
    "classes": "name the classes, in the order of the model's outputs, with classes= (--classes)",
}
_DECIDED = ("groups", "nested", "why", "coarser")
COMPARED = ("identity", *_DECIDED, "classes", "labelling")  # entries of documents
_SHOWN = ("versions", "seeds")  # the others are digests, or long


def merge(*shards: Any) -> Result:
    """Join the shards of a measurement to the result that a single process gives.

    Values, intervals and nulls are those of a single process up to rounding (about 1e-12 in float64), for any
    number of shards. The provenance adds up samples and forwards.

    Args:
        shards: the folders of all shards, or their results, in any order; as separate arguments or as a list.
    Returns:
        A `Result`.
    Raises:
        ValueError: a shard is missing or given twice, or belongs to another measurement: another version,
            seed, model, transform, data, measures or options.

    >>> import invariscope as iv, torch
    >>> _ = torch.manual_seed(0)
    >>> model, images = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3)), torch.rand(16, 1, 9, 9)
    >>> turns = iv.QuarterTurns()
    >>> parts = [iv.measure(model, images, turns, shard=(k, 2), progress=False) for k in (0, 1)]
    >>> parts[1]
    <shard 1 of 2 (8 of 16 samples) of Sequential; iv.merge([...]) joins the shards to one result>
    >>> iv.merge(parts)
    <Result of Sequential: normalized_variance; 1 layers, 1 rows in .table>
    """
    given = shards[0] if len(shards) == 1 and isinstance(shards[0], list | tuple) else shards
    parts = sorted(map(_given, given), key=lambda part: part.shard.index)
    refuse_incomplete(parts)
    refuse_foreign([part.shard for part in parts])
    measures = told_apart([*map(_measure, parts[0].shard.document["measures"])])
    return merged([part.load for part in parts], measures)


@dataclass(frozen=True)
class _Given:
    """A shard without sums, its name in messages, and how to load the sums."""

    shard: Shard
    name: str
    load: Callable[[], Shard]


def _given(one: Any) -> _Given:
    if isinstance(one, str | PathLike):
        folder = Path(one)
        return _Given(load_shard(folder, sums=False), str(folder), partial(load_shard, folder))
    if not isinstance(one, Result):
        raise TypeError(f"merge takes folders or results of shards; got {type(one).__name__}")
    if one.shard is None:
        raise ValueError(f"{one!r} is no shard but a complete result; merge takes results of shard=(k, K)")
    found = shard_of(one)
    return _Given(found, "a result", lambda: found)


def refuse_incomplete(parts: Sequence[_Given]) -> None:
    """Raise ValueError unless every shard is there once."""
    if not parts:
        raise ValueError("no shards given; give the folders of all of them")
    counts = sorted({part.shard.count for part in parts})
    if len(counts) > 1:
        raise ValueError(
            f"these shards are of measurements with {listed(counts)} shards; give all shards of one of them"
        )
    found: dict[int, list[str]] = {}
    for part in parts:
        found.setdefault(part.shard.index, []).append(part.name)
    for index, names in found.items():
        if len(names) > 1:
            raise ValueError(f"shard {index} of {counts[0]} is given {len(names)} times: {listed(names)}")
    missing = [index for index in range(counts[0]) if index not in found]
    if missing:
        which = f"shard{'s' * (len(missing) > 1)} {listed(missing, limit=10)}"
        verb = "are" if len(missing) > 1 else "is"
        raise ValueError(
            f"{which} of {counts[0]} {verb} missing; measure with shard=({missing[0]}, {counts[0]})"
        )


def refuse_foreign(shards: Sequence[Shard]) -> None:
    """Raise ValueError if a shard belongs to another measurement than the first one."""
    first = _identity(shards[0])
    for shard in shards[1:]:
        own = _identity(shard)
        different = [name for name in first if own.get(name) != first[name]]
        if not different:
            continue
        name = different[0]
        what = f"shard {shard.index} does not fit shard {shards[0].index}: their {name} differ"
        shown = f" ({first[name]} and {own.get(name)})" if name in _SHOWN else ""
        remedy = _REMEDIES.get(name, "measure all shards with the same arguments")
        raise ValueError(f"{what}{shown}. To merge, {remedy}")


def _identity(shard: Shard) -> dict[str, str]:
    """Return what must be equal in all shards, including what a shard decided from its memory and data."""
    document = shard.document
    decided = {name: document[name] for name in _DECIDED}
    classes = {"strata": document["classes"], "names": document["labelling"]["order"]}
    return {**document["identity"], "memories": str(decided), "classes": str(classes)}


def _measure(described: Mapping[str, Any]) -> Measure:
    try:
        return measure_of(described)
    except ValueError as error:
        raise ValueError(
            f"a measure of these shards is not known here: {error} Import the module that defines it first"
        ) from None


@dataclass(frozen=True)
class ElementFacts:
    """What evaluations read of a transform: labels, parameters, and which element is the identity."""

    labels: tuple[str, ...]
    parameters: Mapping[str, tuple[float, ...]]
    identity: int | None

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.labels)

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> ElementFacts:
        """Return the facts that a shard holds."""
        parameters = {name: tuple(values) for name, values in parts["parameters"].items()}
        return cls(tuple(parts["labels"]), parameters, parts["identity"])


def merged(loads: Sequence[Callable[[], Shard]], measures: tuple[Measure, ...]) -> Result:
    """Return the result of shards, which are loaded one after the other.

    Args:
        loads: functions that return the shards, in order.
        measures: the measures of all shards.
    """
    statistics = statistics_of(measures)
    first = loads[0]()
    run, documents, dead = run_of(first, statistics), [first.document], dead_of(first, statistics)
    del first
    for load in loads[1:]:
        shard = load()
        run = joined(run, run_of(shard, statistics), statistics)
        documents.append(shard.document)
    run.fingerprint = documents[0]["fingerprint_of_all"] or added(one["fingerprint"] for one in documents)
    return evaluated(run, documents, measures, dead)


def evaluated(
    run: Run, documents: Sequence[Mapping[str, Any]], measures: tuple[Measure, ...], dead: Any
) -> Result:
    """Return the result of a joined run.

    Args:
        documents: the documents of the shards that were joined.
        dead: units that are dead at full precision.
    """
    facts: Any = ElementFacts.of(documents[0]["transform"])
    task = Task(None, cast(Any, None), cast(Any, None), facts, measures, Options())
    part = assembled(task, run, dead=dead)
    grids = {(layer, call): (text, off) for layer, call, text, off in documents[0]["grids"]}
    compact = compacted(part, run, rows=documents[0]["rows"], named=documents[0]["named"])
    rows = annotated(compact.part.rows, measures, run, grids, facts)
    run.notes += compact.notes
    seconds = [document["provenance"]["seconds"] for document in documents]
    further = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": max(seconds),
        "shards": {
            "count": len(documents),
            "seconds": seconds,
            "samples": [document["provenance"]["data"]["samples"] for document in documents],
            "forwarded_inputs": [
                document["provenance"]["options"]["forwarded_inputs"] for document in documents
            ],
        },
        **compact.described,
    }
    return Result(
        rows=tuple(rows),
        curve_rows=tuple(compact.part.points),
        arrays=compact.part.maps,
        provenance=origin_of_merged(documents[0]["provenance"], run, measures, **further),
        examples=kept_orbit(run),
    )
