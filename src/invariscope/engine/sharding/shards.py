"""One process's share of a measurement: what it may be asked for, and what it hands on to be merged."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from invariscope.data.rank_range import RankRange
from invariscope.data.source import Source
from invariscope.data.sources import ArraySource, DatasetSource, StreamSource
from invariscope.engine.checkpoint import refuse_unseen
from invariscope.engine.extras.compact import named_layers
from invariscope.engine.extras.grid_notes import grid_texts
from invariscope.engine.extras.precision import PrecisionCheck, check_precision
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.engine.origin import of_feeding, origin
from invariscope.engine.packing import packed
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.measures.base import MEASURES, Measure
from invariscope.readers.fingerprint import identify
from invariscope.results.provenance import digest
from invariscope.results.result import Result
from invariscope.results.shard import Shard, plain

_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP")


def as_shard(given: Any) -> tuple[int, int] | None:
    """Return (k, K) for a pair of integers, or for "slurm", the task of a SLURM array; else None.

    Args:
        given: see `iv.measure`; None and False name no shard.

    Raises:
        ValueError: k is not between 0 and K - 1, or there is no SLURM array.

    >>> as_shard((3, 16))
    (3, 16)
    """
    if given is None or given is False:
        return None
    if isinstance(given, str):
        return _slurm(given)
    numbers = tuple(given) if isinstance(given, tuple | list) else ()
    whole = [isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers]
    if len(numbers) != 2 or not all(whole) or not 0 <= numbers[0] < numbers[1]:
        raise ValueError(
            f"shard must be (k, K), process k of K, with k from 0 to K - 1, or 'slurm'; got {given!r}"
        )
    return int(numbers[0]), int(numbers[1])


def _slurm(word: str) -> tuple[int, int]:
    """Return the shard of a task of a SLURM array, which may start at any number."""
    if word != "slurm":
        raise ValueError(f"shard must be (k, K), or 'slurm' inside a SLURM array; got {word!r}")
    found = {name: os.environ.get(name) for name in _SLURM}
    task, least, count, step = (found[name] for name in _SLURM)
    if task is None or count is None:
        raise ValueError(
            "shard='slurm' needs the variables SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT of a job array "
            "(sbatch --array=0-15); otherwise pass shard=(k, K)"
        )
    numbers = [_whole(found, name) for name in _SLURM]
    place, rest = divmod(numbers[0] - numbers[1], max(numbers[3], 1))
    if rest or not 0 <= place < numbers[2]:
        raise ValueError(
            f"task {task} of an array with {count} tasks from {least or 0} in steps of {step or 1} has no "
            "place in it; submit an array without gaps, such as --array=0-15, or pass shard=(k, K)"
        )
    return place, numbers[2]


def _whole(found: Mapping[str, str | None], name: str) -> int:
    """Return a variable of a SLURM array as an integer; 0 if it is not set."""
    try:
        return int(found[name] or 0)
    except ValueError:
        raise ValueError(
            f"the environment variable {name} is {found[name]!r}, not an integer; pass shard=(k, K)"
        ) from None


def share_of(
    task: Task,
    shard: tuple[int, int],
    started: float,
    *,
    stored: bool = True,
    watch: Callable[[], None] | None = None,
) -> Result:
    """Measure one process's share of the samples; return a result without rows, for `iv.merge`.

    Args:
        shard: (k, K).
        started: when the measurement started, from `time.perf_counter`.
        stored: whether the result will be saved, not merged by processes that hold the measures themselves.
        watch: called after every block; it may raise to end the walk.
    """
    refuse_undivided(task.measures, task.options)
    if stored:
        refuse_unsaved(task.measures)
    source = ranged(task.source, shard)
    identity = identity_of(task, source, strict=stored)
    check = check_precision(task)
    options = task.options
    if options.checkpoint is not None:  # processes often share their arguments
        options = replace(options, checkpoint=f"{options.checkpoint}.{shard[0]}-of-{shard[1]}")
    task = replace(task, source=source, options=options)
    run = walk(task, watch=watch)
    run.notes[:0] = check.notes
    run.notes += task.rereading.notes()
    part = shard_of_run(task, run, check, identity=identity)
    further = {"precision_error": check.error} if check.error else {}
    seconds = time.perf_counter() - started
    return Result((), provenance=origin(task, run, seconds=seconds, shard=list(shard), **further), shard=part)


def ranged(source: Source, shard: tuple[int, int]) -> RankRange:
    """Return the part of a source that a shard walks.

    Raises:
        ValueError: a stream, which has no order that all processes know, or fewer pairs than shards.
    """
    known = isinstance(source, ArraySource | DatasetSource) and not source.order.arrival
    if not known:
        raise ValueError(
            "a stream cannot be divided among processes, which may receive its samples in different orders: "
            "pass an array, (inputs, labels) or a map-style Dataset, such as the DataLoader's own `.dataset`"
            if isinstance(source, StreamSource | ArraySource)
            else f"shards need an array or a map-style Dataset; got {type(source).__name__}"
        )
    assert isinstance(source, ArraySource | DatasetSource)
    return RankRange(source, *shard)


def refuse_undivided(measures: tuple[Measure, ...], options: Options) -> None:
    """Raise ValueError for what processes cannot do for their own samples alone."""
    reasons = {
        "width=": (options.width is not None, "looks at the intervals of all samples while they arrive"),
        "baseline=": (options.baseline is not None, "measures random networks on all samples"),
        "repeats=": (options.repeats > 1, "walks all samples a second time"),
        "nonfinite='skip'": (
            options.nonfinite == "skip",
            "lets samples decide which other ones sums are relative to",
        ),
    }
    for name, (given, why) in reasons.items():
        if given:
            raise ValueError(f"{name} {why}: measure without shards, or leave {name} out")
    for measure in measures:
        if measure.needs_reference:
            raise ValueError(
                f"{measure.label} with norm='random_net' measures a random network on all samples: measure "
                "without shards, or choose another norm"
            )
        if any(statistic.ordered for statistic in measure.statistics()):
            raise ValueError(
                f"{measure.label} follows windows of the file's own order, which shards would cut: measure "
                "without shards, or leave this measure out"
            )


def refuse_unsaved(measures: tuple[Measure, ...]) -> None:
    """Raise ValueError for a measure that cannot be made again from its name and plain options."""
    for measure in measures:
        try:
            again = measure_of(plain(described_measure(measure)))
            same = again == measure and list(map(repr, again.statistics())) == list(
                map(repr, measure.statistics())
            )
        except (TypeError, ValueError):
            same = False
        if not same:
            raise ValueError(
                f"the options of {measure.label} ({measure.options}) hold objects, which a shard's file "
                "cannot store: leave this measure out, or run all processes together with torchrun, where "
                "nothing is stored"
            )


def described_measure(measure: Measure) -> dict[str, Any]:
    """Return a measure's registry name and options."""
    return {"name": measure.name, "options": measure.options}


def measure_of(described: Mapping[str, Any]) -> Measure:
    """Return the measure that `described_measure` describes.

    Raises:
        ValueError: no measure has this name, or it does not have these options.
    """
    options = {name: _tuples(value) for name, value in described["options"].items()}
    return MEASURES.get(described["name"])(**options)


def _tuples(value: Any) -> Any:
    """Return lists, which JSON has instead of tuples, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def identity_of(task: Task, source: RankRange, *, strict: bool = True) -> dict[str, str]:
    """Return what all shards of a measurement share, in words or digests, by what differs otherwise.

    Args:
        strict: whether to refuse objects that digests do not cover.
    """
    import invariscope

    options, order = task.options, source.whole.order
    parts = {
        "models": task.reader.identity(),
        "transforms": identify(task.transform, "transform"),
        "preprocessing": identify((options.preprocess, options.call, options.pool), "preprocess"),
        "outputs": identify(options.output, "output"),
        "layers": identify(options.layers, "layers"),
        "statistics": identify(Needs.of(task.measures), "measures"),
    }
    if strict:
        refuse_unseen([place for part in parts.values() for place in part.unseen], option="shard=")
    apart = ("device", "batch_size")  # on which numbers do not depend
    plain_options = {name: value for name, value in options.described().items() if name not in apart}
    samples = (order.keys[order.walk].tobytes(), order.groups.tobytes(), order.partners.tobytes())
    return {
        "versions": invariscope.__version__,
        "seeds": str(options.seed),
        "data": digest(f"{source.whole.walked()} {source.fingerprint_of_all} {list(map(_hash, samples))}"),
        "options": str(sorted((plain_options | {"layers": None}).items(), key=lambda entry: entry[0])),
        "measures": str([described_measure(measure) for measure in task.measures]),
        **{name: part.digest for name, part in parts.items()},
    }


def _hash(content: bytes) -> str:
    return digest(content.hex())


def shard_of_run(task: Task, run: Run, check: PrecisionCheck, *, identity: Mapping[str, str]) -> Shard:
    """Return the shard of a run over the samples of a `RankRange`."""
    source = task.source
    assert isinstance(source, RankRange)
    total = len(source.whole.order)
    document, arrays = run_parts(run)
    arrays |= {f"dead/{number}": array for number, array in enumerate(check.dead.values())}
    document |= task_parts(task, run, total=total)
    document |= {
        "identity": dict(identity),
        "ranks": [source.low, source.high],
        "total": total,
        "measures": json.loads(json.dumps([*map(described_measure, task.measures)], default=str)),
        "fingerprint_of_all": source.fingerprint_of_all,
        "dead": [[*key, repr(statistic)] for key, statistic in check.dead],
    }
    return Shard(source.index, source.count, plain(document), arrays)


def run_parts(run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `joining.run_of` restores a run from, as plain data and arrays."""
    document, arrays = packed(run)
    if run.clusters is not None:
        arrays["clusters"] = np.array(sorted(run.clusters), np.int64).reshape(-1, 2)
    arrays |= {f"contents/{name}": array for name, array in run.contents.pack().items()}
    if run.orbit is not None:
        arrays["orbit"] = run.orbit
    document |= {
        "by_class": run.strata.by_class,
        "why": run.strata.why,
        "inspection": {
            "layers": [asdict(info) for info in run.inspection.layers],
            "unused": list(run.inspection.unused),
            "notes": list(run.inspection.notes),
        },
        "inapplicable": [[*key, repr(s), reason] for (key, s), reason in run.inapplicable.items()],
        "shapes": [[*key, list(shape)] for key, shape in run.shapes.items()],
        "draws": [[*key, list(one.shape), one.count, one.seed] for key, one in run.draws.items()],
        "notes": list(run.notes),
        "input_shape": list(run.input_shape),
        "labelled": run.labelled,
        "labelling": labelling_parts(run),
        "fingerprint": run.fingerprint,
    }
    return document, arrays


def task_parts(task: Task, run: Run, *, total: int) -> dict[str, Any]:
    """Return what the evaluation of joined runs needs besides the runs, as plain data.

    Args:
        total: number of samples of all runs.
    """
    texts = grid_texts(task, run, samples=total)
    return {
        "transform": {
            "labels": list(task.transform.labels),
            "parameters": {name: list(values) for name, values in task.transform.parameters.items()},
            "identity": task.transform.identity,
        },
        "grids": [[*key, *text] for key, text in texts.items()],
        "notes": [*run.notes, *of_feeding(task)],
        "rows": task.options.rows,
        "named": sorted(named_layers(task.reader)),
    }


def labelling_parts(run: Run) -> dict[str, Any]:
    """Return the meaning of a run's labels as plain data."""
    own = run.labelling
    words = [[number, word] for number, word in own.words.items()]
    return {"order": list(own.order), "given": own.given, "words": words, "met": dict(own.met)}
