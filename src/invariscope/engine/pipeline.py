"""From a model, data and a transform to a result, with the optional parts that the options ask for."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from invariscope.data.sources import as_source
from invariscope.engine.assemble import assembled
from invariscope.engine.extras.baseline import random_band
from invariscope.engine.extras.cautions import with_cautions
from invariscope.engine.extras.grid_notes import with_grid_notes
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.extras.references import random_references
from invariscope.engine.extras.sequential import LookSource, account, watching
from invariscope.engine.options import Options
from invariscope.engine.origin import origin
from invariscope.engine.outputs import Part
from invariscope.engine.state import Run
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.results.result import Result
from invariscope.transforms.base import Transform

_MAX_ORBIT_VALUES = 1 << 20


def measured(
    model: Any, data: Any, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> Result:
    """Measure with these options; `iv.measure` documents the arguments."""
    if len(transform) < 2:
        raise ValueError(
            f"the transform has {len(transform)} element: a variance along orbits needs at least two"
        )
    started = time.perf_counter()
    who = {"ids": options.ids, "clusters": options.clusters}
    with untouched_generators():
        reader = options.reader(model)
        how = {"seed": options.seed, "channels_last": reader.channels_last}
        source = as_source(data, samples=options.samples, **how, **who)
        references = random_references(model, source, transform, wanted, options)
        band = random_band(model, source, transform, wanted, options, references=references)
        check = check_precision(reader, source, transform, wanted, options)

        def found(run: Run) -> Part:
            return assembled(run, wanted, transform, references=references, dead=check.dead)

        watch = watching(options, wanted, lambda run: found(run).rows)
        if watch is not None:
            source = LookSource(source, watch.stopping)
        run = walk(reader, source, transform, wanted, options, enough=watch)
    part = found(run)
    rows, cautions = with_cautions(part.rows, wanted)
    rows, grids = with_grid_notes(rows, wanted, run, transform, options.seed)
    run.notes[:0] = check.notes
    run.notes += run.labelling.notes(predicted=any(measure.predicts_numbers for measure in wanted))
    run.notes += [*cautions, *grids]
    further = account(watch, run, rows, source.length)
    further |= {"precision_error": check.error} if check.error else {}
    seconds = time.perf_counter() - started
    return Result(
        rows=tuple(rows),
        baseline_rows=tuple(row for row in band if row.key not in run.withdrawn),
        curve_rows=tuple(part.points),
        arrays=part.maps,
        provenance=origin(model, reader, source, transform, wanted, options, run, seconds=seconds, **further),
        examples={} if run.orbit is None or run.orbit.size > _MAX_ORBIT_VALUES else {"orbit": run.orbit},
    )


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Whatever runs inside leaves the global generators of Python, NumPy and torch as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
