"""Measure the error of bfloat16 forwards, and find the units that are dead at full precision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invariscope.data.sources import Source, as_source
from invariscope.engine.assemble import assembled
from invariscope.engine.options import Options
from invariscope.engine.state import Run
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.measures.variance import NormalizedVariance
from invariscope.readers.base import LayerKey, Reader
from invariscope.statistics.base import Statistic
from invariscope.transforms.base import Transform

_SAMPLES = 64


@dataclass(frozen=True)
class PrecisionCheck:
    """The units of a subset that are dead in float32, and the error of its layer values in bfloat16."""

    dead: dict[tuple[LayerKey, Statistic], np.ndarray] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_precision(
    reader: Reader, source: Source, transform: Transform, measures: tuple[Measure, ...], options: Options
) -> PrecisionCheck:
    """Measure the first samples at both precisions; return an empty check unless bfloat16 was requested."""
    if options.precision != "bf16":
        return PrecisionCheck()
    if source.length is None:
        return PrecisionCheck(notes=("the error of bfloat16 forwards was not measured, for a stream",))
    samples = min(_SAMPLES, source.length)
    subset = as_source(source, samples=samples, seed=options.seed)
    wanted = (NormalizedVariance(min_firing=0), *(m for m in measures if m.scope == "layers"))
    quiet = replace(options.quiet(), floor=False)
    exact = walk(reader, subset, transform, wanted, replace(quiet, precision="float32"))
    coarse = walk(reader, subset, transform, wanted, quiet)
    error = _error(_layer_values(exact, wanted[0], transform), _layer_values(coarse, wanted[0], transform))
    error["samples"] = samples
    note = (
        f"bfloat16 forwards changed a layer's normalized variance by {error['median']:.2%} (median) and by "
        f"at most {error['largest']:.2%} (layer {error['layer']!r}) on {samples} samples"
    )
    return PrecisionCheck(_dead(exact, wanted), error, (note,))


def _layer_values(run: Run, measure: Measure, transform: Transform) -> dict[LayerKey, float]:
    return {row.key: row.value for row in assembled(run, (measure,), transform).rows}


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
                groups = [list(range(run.strata.buckets))]
                finals = [s.finalize(run.states[key, s], groups) for s in (along, across)]
                found[key, across] = measure.dead_units(finals)  # type: ignore[attr-defined]
    return found
