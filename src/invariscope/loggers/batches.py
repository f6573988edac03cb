"""Sums over single batches, which can be joined into the result of one measurement of all batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from safetensors.numpy import load as of_bytes
from safetensors.numpy import save as in_bytes
from torch import Tensor

from invariscope.common.samples import Inputs
from invariscope.data.forms import channels_first, form_of
from invariscope.data.labels import Labelling
from invariscope.data.order import CONTENT, arrival_groups, content_keys, input_digests, pair_numbers
from invariscope.data.source import Source
from invariscope.data.window import Window
from invariscope.engine.arrival import Arrival
from invariscope.engine.origin import origin
from invariscope.engine.sharding.joining import joined, run_of, statistics_of
from invariscope.engine.sharding.merging import evaluated
from invariscope.engine.sharding.shards import run_parts, task_parts
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.results.result import Result
from invariscope.results.shard import Shard, plain
from invariscope.results.storage import encoded
from invariscope.statistics.moments.references import FIRST
from invariscope.statistics.pairs import partners

_OF_TASK = ("transform", "grids", "rows", "named", "what", "provenance")
_DECIDED = ("groups", "nested", "why", "coarser")


@dataclass
class BatchSource(Source):
    """One batch of many, each of which is measured on its own, in any process.

    Keys are digests of the samples, so that draws depend on neither the batch nor the process. Neighbours are
    partners, and the jackknife group of a pair is drawn from the key of its first sample.

    Args:
        inputs: (sample, ...) tensor or array of samples.
        targets: (sample,) labels, or None.
        seed: seed of the groups.
        first: the first samples of an earlier batch, to which sums are relative; None: those of this one.
        start: number of samples before this batch.
    """

    inputs: Inputs
    targets: Tensor | None
    labelling: Labelling = field(default_factory=Labelling)
    seed: int = 0
    first: BatchSource | None = None
    start: int = 0
    name: str = "batches"
    collate: Any = None
    least: int = 1

    @classmethod
    def of(cls, data: Any, *, seed: int, channels_last: bool = False) -> BatchSource:
        """Return the source of a batch of inputs, or of (inputs, labels).

        Raises:
            ValueError: an empty batch, or labels of a different length.
            TypeError: not a batch in memory.
        """
        form = form_of(data)
        if form.inputs is None:
            raise TypeError(f"update takes one batch of inputs in memory; got {type(data).__name__}")
        form = channels_first(form) if channels_last else form
        assert form.inputs is not None
        if not len(form.inputs):
            raise ValueError("the batch is empty; give at least one sample")
        return cls(form.inputs, form.targets, form.labelling, seed, collate=form.collate)

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.inputs)

    @property
    def labels(self) -> Tensor | None:
        """All labels."""
        return self.targets

    def beginning(self) -> BatchSource:
        """Return the samples to which the sums of later batches are to be relative."""
        labels = None if self.targets is None else self.targets[:FIRST].clone()
        inputs = self.inputs[:FIRST]
        inputs = inputs.clone() if isinstance(inputs, Tensor) else inputs.copy()
        return replace(self, inputs=inputs, targets=labels, first=None)

    def first_of_strata(self, *, by_class: bool, samples: int) -> Window | None:
        """Return the first samples of an earlier batch, if there was one."""
        return None if self.first is None else next(self.first.windows())

    def walked(self) -> dict[str, str]:
        """Return the kind of keys and the order of the walk."""
        return {"keys": CONTENT, "order": "arrival"}

    def windows(self) -> Iterator[Window]:
        """Yield the batch as a single window."""
        places, digests = np.arange(self.length), input_digests(self.inputs)
        keys, pairs = content_keys(digests), pair_numbers(self.length)
        firsts = keys[np.searchsorted(pairs, pairs)]
        groups = arrival_groups(firsts, None, self.seed)
        mates = partners(self.length) if self.length > 1 else np.array([-1])
        who = (self.start + places, keys, pairs, mates, groups)
        yield Window(self.inputs, self.targets, *who, digested=True, contents=digests)


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of a run over some batches, and what evaluating them needs.

    Args:
        document: plain data.
        arrays: the sums by name.
    """

    document: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, task: Task, what: str, seconds: float) -> Sums:
        """Measure one batch.

        Args:
            task: a task whose source is a `BatchSource`.
            what: everything that batches must share to be joined, as text.
            seconds: seconds spent so far.
        """
        run = walk(task)
        run.notes += task.rereading.notes()
        document, arrays = run_parts(run)
        document |= task_parts(task, run, total=run.samples)
        document |= {"what": what, "arrival": _packed(run.arrival)}
        document |= {"provenance": encoded(origin(task, run, seconds=seconds)), "fingerprint_of_all": ""}
        return cls(plain(document), arrays)

    def to_bytes(self) -> bytes:
        """Return the sums as bytes, preceded by their number, so that several can be concatenated."""
        text = json.dumps(self.document, allow_nan=False).encode()
        whole = in_bytes({**self.arrays, "document": np.frombuffer(text, np.uint8)})
        return len(whole).to_bytes(8, "little") + whole

    @classmethod
    def all_of(cls, content: bytes) -> Iterator[Sums]:
        """Yield the sums from bytes that `to_bytes` returned, concatenated."""
        place = 0
        while place < len(content):
            start = place + 8
            place = start + int.from_bytes(content[place:start], "little")
            arrays = of_bytes(content[start:place])
            yield cls(json.loads(arrays.pop("document").tobytes()), arrays)


@dataclass(eq=False)
class Joined:
    """The run over all batches so far.

    Args:
        run: the joined run.
        document: facts about the task, from the first batch.
    """

    run: Run
    document: dict[str, Any]

    @classmethod
    def of(cls, parts: Sequence[Sums], measures: Sequence[Measure]) -> Joined:
        """Join sums of batches.

        Raises:
            ValueError: they belong to different measurements, or were divided differently for lack of memory.
        """
        statistics = statistics_of(measures)
        runs = [_run(part, statistics) for part in parts]
        first = parts[0].document
        for part in parts[1:]:
            _refuse_other(first, part.document)
        run = runs[0]
        for other in runs[1:]:
            arrival = _added(run.arrival, other.arrival)
            run = joined(run, other, statistics)
            run.arrival = arrival
        return cls(run, {name: first[name] for name in _OF_TASK})

    def sums(self) -> Sums:
        """Return the run as sums again."""
        document, arrays = run_parts(self.run)
        document |= self.document | {"arrival": _packed(self.run.arrival), "fingerprint_of_all": ""}
        return Sums(plain(document), arrays)

    def result(self, measures: tuple[Measure, ...]) -> Result:
        """Return the result of all batches.

        Raises:
            ValueError: fewer than two samples.
        """
        if self.run.samples < 2:
            raise ValueError(f"got {self.run.samples} sample; the variance across samples needs at least two")
        result = evaluated(self.run, [self.document], measures, {})
        kept = {name: value for name, value in result.provenance.items() if name != "shards"}
        return replace(result, provenance=kept)


def _run(part: Sums, statistics: tuple[Any, ...]) -> Run:
    """Return the run of some sums."""
    run = run_of(Shard(0, 1, part.document, part.arrays), statistics)
    run.arrival = _unpacked(part.document["arrival"])
    return run


def _refuse_other(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    if first["what"] != other["what"]:
        raise ValueError(
            "the metric holds sums of another measurement, with another transform, measures or options; "
            "call reset(), or load a state of the same metric"
        )
    if any(first[name] != other[name] for name in _DECIDED):
        raise ValueError(
            "the sums of two batches are divided differently, because different amounts of memory were "
            "free: pass memory_gb= to the metric"
        )


def _packed(arrival: Arrival) -> dict[str, Any]:
    counts = [[value, count] for value, count in arrival.counts.items()]
    return {"counts": counts, "pairs": arrival.pairs, "same": arrival.same, "runs": arrival.runs}


def _unpacked(parts: Mapping[str, Any]) -> Arrival:
    return Arrival(dict(parts["counts"]), parts["pairs"], parts["same"], parts["runs"])


def _added(first: Arrival, second: Arrival) -> Arrival:
    """Return the counts of both; classes that continue from one batch to the next count as changed."""
    counts = dict(first.counts)
    for value, count in second.counts.items():
        counts[value] = counts.get(value, 0) + count
    return Arrival(counts, first.pairs + second.pairs, first.same + second.same, first.runs + second.runs)
