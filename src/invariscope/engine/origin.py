"""Where the numbers of a run come from: its provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from invariscope.data.sources import Source
from invariscope.engine.assemble import skipped
from invariscope.engine.extras.baseline import baseline_name
from invariscope.engine.options import Options
from invariscope.engine.state import Run
from invariscope.measures.base import Measure
from invariscope.readers.base import OK, Reader
from invariscope.readers.prediction import name_of
from invariscope.results.provenance import NONFINITE, digest, provenance
from invariscope.transforms.base import Transform
from invariscope.variants.calibrated import normalization_of

_LOST = "non-finite responses"


def origin(
    model: Any,
    reader: Reader,
    source: Source,
    transform: Transform,
    wanted: tuple[Measure, ...],
    options: Options,
    run: Run,
    *,
    seconds: float,
    **further: Any,
) -> dict[str, Any]:
    """Return the provenance of a run.

    Args:
        model: as given to `iv.measure`.
        seconds: how long the measurement took.
        further: entries of optional parts.
    """
    described = transform.describe()
    draws = f"{json.dumps(described, sort_keys=True)}{options.seed if transform.per_sample else ''}"
    steps = _steps(source.name, described["family"], options.preprocess)
    lost = [f"layer {k[0]}: {n} samples with {_LOST} left out" for k, n in run.skipped_samples.items()]
    return provenance(
        seconds=seconds,
        seed=options.seed,
        model=reader.described(options.label) | _normalization(model),
        data={
            "name": source.name,
            "samples": run.samples,
            "shape": list(run.input_shape),
            "classes": list(run.labelling.classes or ()),
            "classes_ordered": bool(run.labelling.order),
            "labelled": run.labelled,
            **source.walked(),
            "fingerprint": run.fingerprint,
        },
        transform=described | {"fingerprint": digest(draws)},
        options=options.described() | _drawn(options) | {"forwarded_inputs": run.forwards} | steps,
        measures={measure.label: _described(measure) for measure in wanted},
        notes=[*run.notes, *run.inspection.notes, *lost],
        skipped=[*_skipped(run), *(entry for measure in wanted for entry in skipped(run, measure))],
        unused=run.inspection.unused,
        **further,
    )


def _steps(data: str, transform: str, preprocess: Any) -> dict[str, list[str]]:
    """Return what happens to a sample, in order: the same steps in another order give other numbers."""
    return {} if preprocess is None else {"steps": [data, transform, name_of(preprocess), "model"]}


def _skipped(run: Run) -> Iterator[dict[str, Any]]:
    """Layers that cannot be read, and those of which no sample was left."""
    for info in run.inspection.layers:
        if info.status != OK:
            yield {"layer": info.layer, "call": info.call, "reason": info.status}
    for (layer, call), count in run.skipped_samples.items():
        if count >= run.samples:
            reason = f"all {count} samples have {_LOST}"
            yield {"layer": layer, "call": call, "reason": reason, "kind": NONFINITE}


def _normalization(model: Any) -> dict[str, Any]:
    """How the normalisation layers were calibrated, if they were."""
    found = normalization_of(model)
    return {} if found is None else {"normalization": found}


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
