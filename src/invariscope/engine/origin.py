"""Describe how a result was obtained: its provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from invariscope.engine.assemble import skipped
from invariscope.engine.extras.baseline import baseline_name
from invariscope.engine.options import Options
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.measures.base import Measure
from invariscope.readers.base import OK, Inspection
from invariscope.readers.prediction import name_of
from invariscope.results.provenance import NONFINITE, digest, provenance
from invariscope.variants.calibrated import normalization_of

_LOST = "non-finite responses"
_UNEVEN = "no rows, or numbers of rows that differ between elements"
_ROWS = {"positions": "position", "unit_only": "unit"}


def origin(task: Task, run: Run, *, seconds: float, **further: Any) -> dict[str, Any]:
    """Return the provenance of a run.

    Args:
        seconds: duration of the measurement.
        further: further entries, from optional parts of the run.
    """
    source, transform, options = task.source.complete, task.transform, task.options
    described = transform.describe()
    draws = f"{json.dumps(described, sort_keys=True)}{options.seed if transform.per_sample else ''}"
    steps = _steps(source.name, described["family"], options.preprocess)
    calibrated = normalization_of(task.model)
    return provenance(
        seconds=seconds,
        seed=options.seed,
        model=task.reader.described(options.label) | ({"normalization": calibrated} if calibrated else {}),
        data={"name": source.name, **_samples(run), **source.walked(), "fingerprint": run.fingerprint},
        transform=described | {"fingerprint": digest(draws)},
        options=options.described()
        | _drawn(options)
        | {"forwarded_inputs": run.forwards}
        | steps
        | _dtypes(run),
        measures={measure.label: _described(measure) for measure in task.measures},
        **further,
        **_dataflow(run.inspection),
        **_remarks(run, task.measures, feeding=of_feeding(task)),
    )


def _dataflow(inspection: Inspection) -> dict[str, list[Any]]:
    """Return the entry that says which layers each layer takes its values from; empty if unknown.

    An entry per layer: [layer, call, sources]. Sources are positions in the list; -1 is the model's input.
    """
    place = {key: number for number, key in enumerate(inspection.sources)}
    entries = [
        [*key, [-1 if one is None else place[one] for one in found]]
        for key, found in inspection.sources.items()
    ]
    return {"dataflow": entries} if entries else {}


def of_feeding(task: Task) -> Iterator[str]:
    """Yield the reader's remarks on the inputs, and the notes of a `preprocess` of this package."""
    yield from task.reader.remarks
    noted = getattr(task.options.preprocess, "notes", ())
    yield from (str(note) for note in noted if isinstance(noted, tuple))


def origin_of_merged(
    first: Mapping[str, Any], run: Run, measures: Iterable[Measure], **further: Any
) -> dict[str, Any]:
    """Return the provenance of a run that was merged from shards.

    Args:
        first: the provenance of the first shard.
        further: entries that replace its own, or are new.
    """
    data = {**first["data"], **_samples(run), "fingerprint": run.fingerprint}
    options = {**first["options"], "forwarded_inputs": run.forwards}
    kept = {name: value for name, value in first.items() if name != "shard"}
    return {**kept, **further, "data": data, "options": options, **_remarks(run, measures)}


def _samples(run: Run) -> dict[str, Any]:
    """Return facts on the samples of a run."""
    return {
        "samples": run.samples,
        "shape": list(run.input_shape),
        "classes": list(run.labelling.classes or ()),
        "classes_ordered": bool(run.labelling.order),
        "labelled": run.labelled,
    }


def _remarks(run: Run, measures: Iterable[Measure], *, feeding: Iterable[str] = ()) -> dict[str, Any]:
    """Return the notes of a run, the layers that were skipped, and modules that do not run."""
    lost = [f"layer {k[0]}: {n} samples with {_LOST} left out" for k, n in run.skipped_samples.items()]
    return {
        "notes": [*run.notes, *run.inspection.notes, *lost, *_uneven(run), *feeding],
        "skipped": [*_skipped(run), *(entry for measure in measures for entry in skipped(run, measure))],
        "unused": list(run.inspection.unused),
    }


def _steps(data: str, transform: str, preprocess: Any) -> dict[str, list[str]]:
    """Return the steps that a sample goes through, in order, because their order affects the numbers."""
    between = [] if preprocess is None else [name_of(preprocess)]
    return {"steps": [data, transform, *between, "model"]}


def _dtypes(run: Run) -> dict[str, list[str]]:
    """Return the dtypes of the layers, which a model's own autocast may choose, unless all are float32."""
    found = sorted({info.dtype for info in run.inspection.layers if info.status == OK})
    return {} if found in ([], ["float32"]) else {"layer_dtypes": found}


def _skipped(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the layers that cannot be read, and those without a usable sample."""
    for info in run.inspection.layers:
        if info.status != OK:
            yield {"layer": info.layer, "call": info.call, "reason": info.status}
    for (layer, call), count in run.skipped_samples.items():
        if count >= run.samples:
            reason = f"all {count} samples have {_LOST}"
            yield {"layer": layer, "call": call, "reason": reason, "kind": NONFINITE}
    for (layer, call), count in run.uneven.items():
        if count >= run.samples:
            yield {"layer": layer, "call": call, "reason": f"all {count} samples have {_UNEVEN}"}


def _uneven(run: Run) -> Iterator[str]:
    """Yield notes on layers with samples whose rows (`iv.Rows`) cannot be compared."""
    for (layer, _), count in run.uneven.items():
        if count:
            yield f"layer {layer}: {count} of {run.samples} samples are left out; they have {_UNEVEN}"
    for (layer, _), count in run.unpaired.items():
        if count:
            yield (
                f"layer {layer}: nulls leave out {count} of {run.samples} samples, whose partners have a "
                "different number of rows"
            )


def _drawn(options: Options) -> dict[str, Any]:
    """Return the options of the baseline; empty without one."""
    return {"baseline": baseline_name(options.baseline), "draws": options.draws} if options.baseline else {}


def _described(measure: Measure) -> dict[str, Any]:
    """Return a measure's options, its texts for reports, and the rows that reports show in another form."""
    plain = json.loads(json.dumps(measure.options, default=str))
    texts = {"summary": measure.summary, "reading": measure.reading, "source": measure.source()}
    rows = {title: names for title, kind in _ROWS.items() if (names := measure.rows_of_kind(kind))}
    return {"options": plain, **texts, **rows}
