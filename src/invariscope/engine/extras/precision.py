"""Measure the error of bfloat16 forward passes, and find the units that are dead at full precision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invariscope.data.sources import as_source
from invariscope.engine.assemble import assembled
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.measures.variance import NormalizedVariance
from invariscope.readers.base import LayerKey
from invariscope.statistics.base import Statistic

_SAMPLES = 64


@dataclass(frozen=True)
class PrecisionCheck:
    """The units that are dead in float32 on some samples, and the error of layer values in bfloat16."""

    dead: dict[tuple[LayerKey, Statistic], np.ndarray] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_precision(task: Task) -> PrecisionCheck:
    """Measure the first samples at both precisions; return an empty check unless bfloat16 was requested."""
    if task.options.precision != "bf16":
        return PrecisionCheck()
    if task.source.length is None:
        return PrecisionCheck(
            notes=("the error of bfloat16 was not measured, because the data are a stream",)
        )
    samples = min(_SAMPLES, task.source.length)
    subset = as_source(task.source, samples=samples, seed=task.options.seed)
    wanted = (NormalizedVariance(min_firing=0), *(m for m in task.measures if m.scope == "layers"))
    quiet = replace(task.options.quiet(), floor=False)
    small = replace(task, source=subset, measures=wanted, options=quiet)
    exact = walk(replace(small, options=replace(quiet, precision="float32")))
    coarse = walk(small)
    values = replace(small, measures=wanted[:1])
    error = _error(*({row.key: row.value for row in assembled(values, run).rows} for run in (exact, coarse)))
    error["samples"] = samples
    note = (
        f"bfloat16 changed a layer's normalized variance by {error['median']:.2%} (median) and by "
        f"at most {error['largest']:.2%} (layer {error['layer']!r}) on {samples} samples"
    )
    return PrecisionCheck(_dead(exact, wanted), error, (note,))


def _error(exact: dict[LayerKey, float], coarse: dict[LayerKey, float]) -> dict[str, Any]:
    gaps = {
        key[0]: abs(coarse[key] - value) / value
        for key, value in exact.items()
        if key in coarse and np.isfinite(value) and value > 0
    }
    worst = max(gaps, key=gaps.__getitem__, default="")
    values = list(gaps.values()) or [float("nan")]
    return {"median": float(np.median(values)), "largest": gaps.get(worst, float("nan")), "layer": worst}


def _dead(run: Run, measures: tuple[Measure, ...]) -> dict[tuple[LayerKey, Statistic], np.ndarray]:
    found = {}
    for measure in measures:
        if not hasattr(measure, "dead_units"):
            continue
        along, across = measure.statistics()
        for key, statistic in list(run.states):
            if statistic == across:
                finals = [
                    s.finalize(run.states[key, s], run.strata_of(key, s).everything) for s in (along, across)
                ]
                found[key, across] = measure.dead_units(finals)  # type: ignore[attr-defined]
    return found
