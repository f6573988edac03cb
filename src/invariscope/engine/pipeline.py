"""Turn a model, data and a transform into a result, including the optional parts that were requested."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from invariscope.data.sources import as_source
from invariscope.engine.assemble import assembled
from invariscope.engine.extras.baseline import random_band, random_references
from invariscope.engine.extras.cautions import with_cautions
from invariscope.engine.extras.chance import chance_values, refuse_streams, with_chance
from invariscope.engine.extras.compact import described, repeated, repetition_notes, without
from invariscope.engine.extras.few_pairs import with_few_pairs
from invariscope.engine.extras.grid_notes import with_grid_notes
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.extras.sequential import LookSource, watching
from invariscope.engine.options import Options
from invariscope.engine.origin import origin
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.turns import Turns
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.results.result import Result
from invariscope.results.rows import Row
from invariscope.transforms.base import Transform

_MAX_ORBIT_VALUES = 1 << 20


def measured(
    model: Any, data: Any, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> Result:
    """Measure with the given options; see `iv.measure`."""
    if len(transform) < 2:
        raise ValueError(
            f"the transform has {len(transform)} element; the variance along an orbit needs at least two"
        )
    started = time.perf_counter()
    who = {"ids": options.ids, "clusters": options.clusters, "labels": options.labels}
    with untouched_generators():
        reader = options.reader(model)
        how = {"seed": options.seed, "channels_last": reader.channels_last, "structured": True}
        source = as_source(data, samples=options.samples, **how, **who)
        if options.preprocess is None and source.collate is not None:
            options = replace(options, preprocess=source.collate)
            reader = options.reader(model)
        task = Task(model, reader, source, transform, wanted, options)
        refuse_streams(task)
        references = random_references(task)
        band = random_band(task, references=references)
        check = check_precision(task)
        found = partial(assembled, task, references=references, dead=check.dead)
        watch = watching(task, lambda run: found(run).rows)
        if watch is not None:
            task = replace(task, source=LookSource(source, watch.stopping))
        run = walk(task, enough=watch, turns=Turns(task, references, check.dead))
        chance = chance_values(task)
    whole, left_out = found(run), repeated(run, task)
    part = without(whole, left_out)
    run.notes[:0] = check.notes
    rows = with_chance(_annotated(part.rows, task, run), chance)
    run.notes += repetition_notes(left_out)
    further = {} if watch is None else watch.account(run, whole.rows, source.length)
    further |= described(left_out)
    further |= {"precision_error": check.error} if check.error else {}
    seconds = time.perf_counter() - started
    return Result(
        rows=tuple(rows),
        baseline_rows=tuple(row for row in band if row.key not in run.withdrawn | left_out),
        curve_rows=tuple(part.points),
        arrays=part.maps,
        provenance=origin(task, run, seconds=seconds, **further),
        examples={} if run.orbit is None or run.orbit.size > _MAX_ORBIT_VALUES else {"orbit": run.orbit},
    )


def _annotated(rows: Sequence[Row], task: Task, run: Run) -> list[Row]:
    """Return the rows with their cautions and grid notes, and add these to the notes of the run."""
    rows, cautions = with_cautions(rows, task.measures)
    rows, grids = with_grid_notes(with_few_pairs(rows, run), task, run)
    run.notes += run.labelling.notes(predicted=any(measure.predicts_numbers for measure in task.measures))
    run.notes += [*cautions, *grids]
    return rows


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
