"""Turn a model, data and a transform into a result, including the optional parts that were requested."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from invariscope.data.sources import as_source
from invariscope.engine.annotating import annotated
from invariscope.engine.assemble import assembled
from invariscope.engine.extras.baseline import random_band, random_references
from invariscope.engine.extras.chance import chance_values, refuse_streams, with_chance
from invariscope.engine.extras.compact import compacted, named_layers
from invariscope.engine.extras.examples import examples_of
from invariscope.engine.extras.grid_notes import grid_texts
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.extras.sequential import LookSource, watching
from invariscope.engine.options import Options
from invariscope.engine.origin import origin
from invariscope.engine.passes import Passes
from invariscope.engine.sharding.processes import launched, team
from invariscope.engine.sharding.shards import as_shard, share_of
from invariscope.engine.sharding.together import measured_together
from invariscope.engine.task import Task
from invariscope.engine.turns import Turns
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.results.result import Result
from invariscope.statistics.probes import Untransformed
from invariscope.transforms.base import Transform


def measured(
    model: Any, data: Any, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> Result:
    """Measure with the given options; see `iv.measure`."""
    _refuse_few_elements(transform, wanted)
    started, shard = time.perf_counter(), as_shard(options.shard)
    make = partial(_task, model, data, transform, wanted)
    with untouched_generators():
        if shard is not None:
            return share_of(make(options), shard, started)
        if options.shard is None and launched():
            with team() as processes:
                if processes.rank and options.progress is True:  # one bar is enough
                    options = replace(options, progress=False)
                return measured_together(processes, partial(make, options), started)
        return _whole(make(options), started)


def _refuse_few_elements(transform: Transform, wanted: tuple[Measure, ...]) -> None:
    m, name = len(transform), type(transform).__name__
    few = [measure.label for measure in wanted if measure.fewest_elements > m]
    still = [measure.label for measure in wanted if m == 1 and _compares_with_identity(measure, transform)]
    if not few and not still:
        return
    options = " or ".join(f"{name}=" for name in transform.traits.added_by)
    ways = [f"add elements with {options}" if options else "add elements"]
    ways += [f"leave out {' and '.join(few or still)}"] if len(few or still) < len(wanted) else []
    if few:
        fewest = max(measure.fewest_elements for measure in wanted)
        has, needed = f"has {m} element{'s' * (m > 1)}", "two" if fewest == 2 else str(fewest)
        what = f"{has}; {few[0]} compares elements with each other and needs at least {needed}"
    else:
        what = f"has only the identity; {still[0]} compares transformed inputs with the untransformed one"
    raise ValueError(f"{name} {what}: {', or '.join(ways)}")


def _compares_with_identity(measure: Measure, transform: Transform) -> bool:
    return transform.identity is not None and measure.needs_orbit and Untransformed() in measure.probes


def _task(model: Any, data: Any, transform: Transform, wanted: tuple[Measure, ...], options: Options) -> Task:
    """Return the task, with the function that collates samples of the data."""
    who = {"ids": options.ids, "clusters": options.clusters, "labels": options.labels}
    reader = options.reader(model)
    how = {"seed": options.seed, "channels_last": reader.channels_last, "structured": True}
    how["tensors"] = options.preprocess is None and options.call is None
    source = as_source(data, samples=options.samples, **how, **who)
    if options.preprocess is None and source.collate is not None:
        options = replace(options, preprocess=source.collate)
        reader = options.reader(model)
    return Task(model, reader, source, transform, wanted, options)


def _whole(task: Task, started: float) -> Result:
    """Measure all samples in this process."""
    source = task.source
    refuse_streams(task)
    passes = Passes.of(task)
    references = random_references(task, passes)
    band = random_band(task, references=references, passes=passes)
    check = check_precision(task)
    found = partial(assembled, task, references=references, dead=check.dead)
    watch = watching(task, lambda run: found(run).rows)
    if watch is not None:
        task = replace(task, source=LookSource(source, watch.stopping))
    run = walk(task, enough=watch, turns=Turns(task, references, check.dead), unfinished=True)
    with nullcontext() if run.checkpoint is None else run.checkpoint.complete():
        chance = chance_values(task)
        run.notes += task.rereading.notes()
        whole = found(run)
        compact = compacted(whole, run, rows=task.options.rows, named=named_layers(task.reader))
        part = compact.part
        run.notes[:0] = check.notes
        grids = grid_texts(task, run, samples=run.samples)
        rows = with_chance(annotated(part.rows, task.measures, run, grids, task.transform), chance)
        run.notes += compact.notes
        further = {} if watch is None else watch.account(run, whole.rows, source.length)
        further |= compact.described
        further |= {"precision_error": check.error} if check.error else {}
        seconds = time.perf_counter() - started
        result = Result(
            rows=tuple(rows),
            baseline_rows=tuple(row for row in band if row.key not in run.withdrawn | compact.repeats),
            curve_rows=tuple(part.points),
            arrays=part.maps,
            provenance=origin(task, run, seconds=seconds, **further),
            examples=examples_of(task, run, part.maps),
        )
    passes.remove()
    return result


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch on exit."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
