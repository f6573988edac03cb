"""`iv.measure`: data through transform and model to a result."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import invariscope
from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.data.sources import Source, as_source
from invariscope.engine.assemble import Assembler
from invariscope.engine.extras.baseline import baseline_name, random_band, refuse_unrandom
from invariscope.engine.extras.cautions import add_cautions
from invariscope.engine.extras.grid_notes import add_grid_notes
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.extras.sequential import LookSource, account, watching
from invariscope.engine.malloc import kept_memory
from invariscope.engine.options import Options
from invariscope.engine.run import walk
from invariscope.engine.state import Run
from invariscope.measures.base import Measure, as_measures
from invariscope.measures.variance import TransformationVariance
from invariscope.readers.base import LayerKey, Reader
from invariscope.results.result import SCHEMA, Result
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform
from invariscope.variants.calibrated import normalization_of
from invariscope.variants.randomized import random_network

_MAX_ORBIT_VALUES = 1 << 20


@without_autocast()
@without_default_device()
def measure(
    model: Any,
    data: Any,
    transform: Any,
    *,
    measures: Any = ("normalized_variance",),
    layers: Any = None,
    by_class: bool = False,
    classes: Sequence[str] | None = None,
    samples: int | None = None,
    batch_size: int | str = "auto",
    device: str | None = None,
    precision: str = "float32",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool | Callable[[int, int | None], None] = True,
    intervals: bool = True,
    nonfinite: str = "raise",
    unstable: str = "refuse",
    memory_gb: float | None = None,
    batch_axis: Any = None,
    output: str | int | Callable[[Any], Any] | None = None,
    gradients: bool = False,
    label: str | None = None,
    baseline: str | Callable[[], Any] | None = None,
    draws: int = 30,
    floor: bool = False,
    width: float | None = None,
    at_least: int = 128,
    decided_by: str | None = None,
    ids: Any = None,
    clusters: Any = None,
) -> Result:
    """Measure how a model's representations respond when its inputs are transformed.

    Every transformed input goes through the model once, whatever the number of measures; the
    responses are reduced where they are produced and never stored. Nothing about the model, and no
    global random generator, is changed by it.

    Args:
        model: an `nn.Module`, a `Reader`, or a callable from inputs to {layer: array}.
        data: array, tensor or DataFrame (sample, ...), a tuple (inputs, labels), a Dataset, a DataLoader, or
            an iterable of batches. Inputs must be what the model expects (floating images, say). Labels are
            one integer or word per sample; other targets, such as masks, are ignored with a note.
        transform: a `Transform`, or a list of callables on batches: the elements.
        measures: measure objects or registry names (`iv.list_measures()`).
        layers: glob, list of globs, or predicate on `LayerInfo`; None reads every leaf module and every
            functional operation. A leading "!" excludes: ["*", "!*where*"], or "!*where*" for everything
            that None reads except those.
        by_class: also measure each class of the labels alone, and their mean, in the same pass.
        classes: names in the order of the model's outputs, which also name the strata. Measures that
            compare labels with outputs need them if labels are words, unless the data name their classes
            themselves (`data.classes`, `class_to_idx`).
        samples: measure a seeded subset of this many samples; of a stream, the first ones.
        batch_size: inputs per forward (samples × elements, at least one whole orbit), or "auto".
        device: where to run; None: where the model's parameters are.
        precision: "float32" (the model as it is), "float64", or "bf16" (a bfloat16 copy). A surrounding
            `torch.autocast` does not reach the model; one in the model's own forward does.
        seed: for draws of the transform and of the subset; the same seed gives the same numbers
            whatever the batch size.
        checkpoint: a file for the sums, written every half minute and removed at the end; the same
            call continues from it after an interruption.
        progress: a bar on the terminal, or a function of (samples done, samples in all).
        intervals: keep the sums that intervals need (eight times the memory of the sums).
        nonfinite: "raise" on NaN or infinite responses, or "skip" and count such samples.
        unstable: "refuse" or "measure" a model whose output depends on chance or on its batch.
        memory_gb: budget for sums; None: half of the free memory.
        batch_axis: overrides the batch axis found for each layer.
        output: the part of the model's output that is its prediction, for measures of the output: a name
            (a key or field, "logits"), an index (1), or a function of the model's output that returns a
            tensor with one row per sample. None: the only floating-point tensor in it with one row per
            sample, found at two batch sizes; if there are several, or none, such measures raise an error.
        gradients: run forwards with autograd enabled, for models that differentiate inside their forward,
            such as potentials that return forces. Responses are detached where they are read. Forwards take
            more memory, since each holds its graph.
        label: the model's name in tables and plots.
        baseline: "random" also measures the same architecture with random weights, in the same way, for
            `result.baseline`. It costs as many passes as there are draws, before the model's own; a
            checkpoint does not hold them. The weights are drawn by the initialisers of the modules
            (`reset_parameters`, `_init_weights` of transformers, `init_weights` of timm); a weight that none
            of them reaches raises an error that names it. For such a model pass a function without arguments
            that returns the same architecture with new weights at each call. Global generators are seeded
            before each call.
        draws: how many random networks.
        floor: also measure inputs that were transformed and brought back, for the column `floor`: what
            interpolation and padding alone do to a value. Doubles the inputs that are forwarded; needs a
            transform with an inverse, and is NaN without.
        width: stop as soon as the 95 % interval of every deciding row is at most this wide. Arrays and
            datasets are read in a seeded random order, the same from which samples= takes the first; streams
            as they come. Intervals are looked at each time the number of samples has grown by √2. They are a
            tenth wider, because runs tend to stop when chance has made them narrow: at the stopping time they
            cover in 93 to 97 % of simulated runs (benchmarks/results/sequential.md).
            `provenance["sequential"]` records how many samples were used, and why.
        at_least: samples before the first look, 64 or more. Fewer samples than that are used without a look,
            and a note says so.
        decided_by: the rows that decide, "measure" or "layer:measure" as globs ("conv*:normalized_variance").
            None: every row that has an interval, those of classes included.
        ids: one integer or string per sample that identifies it, in the order of the data. Draws, pairs,
            groups and subsets follow these ids, so that results do not depend on the order in which samples
            are stored. By default, samples of arrays are identified by their content, those of datasets and
            streams by their index.
        clusters: one integer or string per sample, equal for samples that belong together, such as crops of
            one image or frames of one video. Intervals are then over clusters, and nulls pair a sample with
            one from another cluster.

    Returns:
        A `Result` with `table`, `maps`, `curves`, `baseline`, `provenance`.

    Raises:
        ValueError: empty data, fewer than two samples or elements, labels of another length,
            unknown names, a pattern that matches no layer, NaN or infinite responses.
        TypeError: data or model of a kind that cannot be read, image transforms on other data.

    >>> import invariscope as iv, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
    >>> result = iv.measure(model, torch.rand(16, 1, 9, 9), iv.QuarterTurns(), progress=False)
    >>> result.table["layer"].tolist()
    ['0', '1']
    """
    given = {name: value for name, value in locals().items() if name in Options.__dataclass_fields__}
    with kept_memory():
        return _measure(model, data, as_transform(transform), as_measures(measures), Options(**given))


def _measure(
    model: Any, data: Any, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> Result:
    if len(transform) < 2:
        raise ValueError(
            f"the transform has {len(transform)} element: a variance along orbits needs at least two"
        )
    started = time.perf_counter()
    with untouched_generators():
        who = {"ids": options.ids, "clusters": options.clusters}
        source = as_source(data, samples=options.samples, seed=options.seed, **who)
        reader = options.reader(model)
        references = _references(model, source, transform, wanted, options)
        band = random_band(model, source, transform, wanted, options, references=references)
        check = check_precision(reader, source, transform, wanted, options)

        def assembled(run: Run) -> Assembler:
            known = {"labelling": run.labelling, "references": references, "dead": check.dead}
            assembler = Assembler(run, wanted, transform, **known)
            assembler()
            return assembler

        watch = watching(options, wanted, lambda run: assembled(run).rows)
        if watch is not None:
            source = LookSource(source, watch.stopping)
        run = walk(reader, source, transform, wanted, options, enough=watch)
    assembler = assembled(run)
    run.notes[:0] = check.notes
    run.notes += run.labelling.notes(predicted=any(measure.predicts_numbers for measure in wanted))
    run.notes += add_cautions(assembler.rows, wanted)
    run.notes += add_grid_notes(assembler.rows, wanted, run, transform, options.seed)
    told = account(watch, run, assembler.rows, source.length)
    provenance = _provenance(reader, source, transform, wanted, options, run, time.perf_counter() - started)
    provenance |= told
    if (normalization := normalization_of(model)) is not None:
        provenance["model"]["normalization"] = normalization
    provenance["skipped"] += [entry for measure in wanted for entry in assembler.skipped(measure)]
    return Result(
        rows=tuple(assembler.rows),
        baseline_rows=tuple(row for row in band if (row["layer"], row["call"]) not in run.withdrawn),
        curve_rows=tuple(assembler.curves),
        arrays=assembler.maps,
        provenance=provenance | ({"precision_error": check.error} if check.error else {}),
        examples={} if run.orbit is None or run.orbit.size > _MAX_ORBIT_VALUES else {"orbit": run.orbit},
    )


def _references(
    model: Any, source: Source, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> dict[LayerKey, np.ndarray]:
    """Per-unit transformation variance of the same architecture with random weights, if needed."""
    if not any(measure.needs_reference for measure in wanted):
        return {}
    refuse_unrandom(model, source, what="norm='random_net'")
    reader = options.reader(random_network(model, options.baseline, seed=options.seed))
    only, plain = (TransformationVariance(min_firing=0),), replace(options, floor=False)
    run = walk(reader, source, transform, only, plain)
    assembler = Assembler(run, only, transform, labelling=None, references={}, dead={})
    assembler()
    return {
        (layer, call): array
        for (_, layer, stratum, call), array in assembler.maps.items()
        if stratum == "all"
    }


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


def _provenance(
    reader: Reader,
    source: Source,
    transform: Transform,
    wanted: tuple[Measure, ...],
    options: Options,
    run: Run,
    seconds: float,
) -> dict[str, Any]:
    described = transform.describe()
    draws = f"{json.dumps(described, sort_keys=True)}{options.seed if transform.per_sample else ''}"
    skipped = [info for info in run.inspection.layers if info.status != "ok"]
    skips = [
        f"layer {k[0]}: {n} samples with non-finite responses left out"
        for k, n in run.skipped_samples.items()
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "seed": options.seed,
        "versions": {
            "invariscope": invariscope.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "model": reader.described(options.label),
        "data": {
            "name": source.name,
            "samples": run.samples,
            "shape": list(run.input_shape),
            "classes": list(run.labelling.classes or ()),
            "classes_ordered": bool(run.labelling.order),
            "labelled": run.labelled,
            **source.walked(),
            "fingerprint": run.fingerprint,
        },
        "transform": described | {"fingerprint": hashlib.blake2b(draws.encode(), digest_size=12).hexdigest()},
        "options": options.described() | _drawn(options) | {"forwarded_inputs": run.forwards},
        "measures": {measure.label: _described(measure) for measure in wanted},
        "notes": [*run.notes, *run.inspection.notes, *skips],
        "skipped": [
            *({"layer": i.layer, "call": i.call, "reason": i.status} for i in skipped),
            *_lost(run),
        ],
        "unused": list(run.inspection.unused),
    }


def _drawn(options: Options) -> dict[str, Any]:
    """The random networks measured beside the model, where there are any."""
    return {"baseline": baseline_name(options.baseline), "draws": options.draws} if options.baseline else {}


def _described(measure: Measure) -> dict[str, Any]:
    """What a report says of a measure, and the rows that it shows in another way than most."""
    texts = {"summary": measure.summary, "reading": measure.reading, "source": measure.source()}
    kinds = {"positions": "position", "unit_only": "unit"}
    rows = {title: measure.rows_of_kind(kind) for title, kind in kinds.items()}
    named = {title: names for title, names in rows.items() if names}
    return {"options": _plain(measure.options), **texts, **named}


def _plain(value: Any) -> Any:
    """Options as JSON can hold them: objects by what they call themselves."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _lost(run: Run) -> list[dict[str, Any]]:
    """Layers of which no sample was left."""
    gone = [(key, n) for key, n in run.skipped_samples.items() if n >= run.samples]
    return [
        {"layer": k[0], "call": k[1], "reason": f"all {n} samples have non-finite responses"} for k, n in gone
    ]
