"""`invariscope measure`."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from invariscope.cli import options as shared
from invariscope.cli.completion import layer_names, measure_names
from invariscope.cli.console import complain, notice, show, show_line
from invariscope.cli.errors import Debug, Interrupted, command
from invariscope.cli.folders import RESULT_FILES, SHARD_FILES, put, staged_folder
from invariscope.cli.options import flag, number_or_word, opt, shard_of

if TYPE_CHECKING:
    from invariscope.cli.models import Named
    from invariscope.engine.options import Options
    from invariscope.results.result import Result
    from invariscope.transforms.base import Transform

_USUAL, _SHARDS = Path("run"), Path("shards")


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(shared.BatchSettings):
    """Options of `iv.measure` that only this command has."""

    layers: Annotated[
        list[str] | None,
        opt(
            "Measure only matching layers, such as `conv*`. Can be repeated.",
            "GLOB",
            shown="all",
            autocompletion=layer_names,
        ),
    ] = None
    by_class: Annotated[bool, flag("Also measure each class separately.", "--by-class")] = False
    baseline: Annotated[
        str | None,
        opt(
            "`random`: also measure the same architecture with random weights. If its modules cannot redraw "
            "their weights, give `file.py:factory`, a function that returns a new random network per call.",
            "NAME",
            shown="none",
        ),
    ] = None
    draws: Annotated[
        int,
        opt("Number of random networks for the baseline; each requires another pass over the data.", "INT"),
    ] = 30
    floor: Annotated[
        bool, flag("Also measure the effect of interpolation alone; doubles the number of inputs.", "--floor")
    ] = False
    width: Annotated[
        float | None,
        opt("Stop once every 95 % interval is at most this wide.", "FLOAT", shown="use all samples"),
    ] = None
    at_least: Annotated[
        int, opt("With --width: number of samples before the first interim look, at least 64.", "INT")
    ] = 128
    decided_by: Annotated[
        str | None,
        opt("With --width: consider only these intervals, such as `conv*:anova`.", "GLOB", shown="all"),
    ] = None
    intervals: Annotated[
        bool,
        flag(
            "Do not compute intervals; this takes an eighth of the memory.", " /--no-intervals", shown=False
        ),
    ] = True
    memory_gb: Annotated[
        float | None,
        opt("Memory budget for intermediate sums and one forward.", "GB", shown="half of the free memory"),
    ] = None
    batch_axis: Annotated[int | None, opt("Batch axis of all layers.", "INT", shown="detected")] = None
    rows: Annotated[
        str,
        opt("`compact`, or `all` to include layers that repeat another one (dropout, flatten).", "NAME"),
    ] = "compact"
    units: Annotated[
        str,
        opt(
            "Number of units to sample from each large layer: an integer, `all`, or `auto`.",
            "INT",
            parser=number_or_word,
        ),
    ] = "auto"
    class_maps: Annotated[
        bool | None,
        flag(
            "Keep the values of single units for each class.",
            "--class-maps/--no-class-maps",
            shown="up to 32 classes",
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        opt(
            "File for intermediate sums; after an interruption, the same command resumes from it.",
            "FILE",
            shown="none",
        ),
    ] = None
    checkpoint_every: Annotated[
        float, opt("With --checkpoint: seconds between two writes; 0 writes after every block.", "SECONDS")
    ] = 30.0
    shard: Annotated[
        str | None,
        opt(
            "Measure share `3/16`, process 3 of 16, counted from 0, and write it to `shard-3` in `--out`; "
            "`slurm` takes the numbers of a job array. `invariscope merge` joins the shards.",
            "K/N",
            shown="all samples",
            parser=shard_of,
        ),
    ] = None


@command
def measure(
    model: shared.Model,
    data: shared.Data,
    transform: shared.Transform,
    origin: shared.Origin,
    settings: MeasureSettings,
    measures: Annotated[
        list[str],
        opt(
            "Names or expressions, such as `cka, Prediction()`. Can be repeated.",
            "TEXT",
            "--measures",
            "-m",
            autocompletion=measure_names,
        ),
    ] = ["normalized_variance"],  # noqa: B006
    out: shared.Out = _USUAL,
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Measure how a model's layers respond when its inputs are transformed.

    Prints a table, and writes `result.json`, `maps.safetensors` and `report.html` to the folder `--out`.
    Either all files are written or none.

    Examples:

        invariscope measure nets/plain mnist_subset -t 'Rotation.circle(16)'
        invariscope measure net.py:make digits.npz -t quarter_turns --by-class
        invariscope measure timm:resnet18 photos -t 'Flip()' --layers 'layer*.conv*'
        invariscope measure hf:textattack/bert-base-uncased-SST-2 reviews.txt -t wording.py:elements
        invariscope measure zoo:all_conv cifar10 -t 'Scale([0.8, 1.0])' --samples 512
        invariscope measure nets/plain mnist_subset -t quarter_turns --width 0.1
        invariscope measure nets/plain mnist_subset -t quarter_turns --shard 3/16
    """
    from invariscope.engine.options import Options
    from invariscope.engine.sharding.processes import is_first_process

    options = Options(**vars(settings) | {"baseline": _baseline(settings.baseline)})
    work = partial(_measured, model, data, origin, transform, measures, options)
    try:
        if options.shard is not None:
            _write_shard(work, options, out, overwrite=overwrite)
            return
        if not is_first_process():
            work()
            return
        with staged_folder(out, usual=_USUAL, overwrite=overwrite, removes=SHARD_FILES) as stage:
            result = work()
            put(result, stage, out)
    except KeyboardInterrupt:
        raise Interrupted(_left(settings.checkpoint)) from None
    except SystemExit:  # SIGTERM
        complain(_left(settings.checkpoint), word="terminated")
        raise
    show_result(result, out)


def _write_shard(work: Callable[[], Result], options: Options, out: Path, *, overwrite: bool) -> None:
    """Measure a shard, and write it to a folder of its own."""
    from invariscope.engine.sharding.shards import as_shard
    from invariscope.results.shard import SHARD_NAME

    shard = as_shard(options.shard)
    assert shard is not None
    out = _SHARDS if out == _USUAL else out
    folder = out / f"shard-{shard[0]}"
    with staged_folder(folder, overwrite=overwrite, last=SHARD_NAME, removes=RESULT_FILES) as stage:
        result = work()
        put(result, stage, folder)
    show_line(f"{result.shard!r}: {folder}")
    show_line(f"to join all {shard[1]}: invariscope merge {out}")


def _baseline(text: str | None) -> Any:
    """Return the user's function if the text is a reference, otherwise the text."""
    from invariscope.cli.references import is_reference, load_factory

    return load_factory(text) if text is not None and is_reference(text) else text


def _left(checkpoint: Path | None) -> str:
    if checkpoint is not None:
        name, folder = checkpoint.name, checkpoint.parent
        of_parts = [*folder.glob(f"{glob.escape(name)}.*-of-*"), *folder.glob(f"{glob.escape(name)}.pass*")]
        if of_parts or checkpoint.exists():
            return f"no result was written; the same command resumes from {checkpoint}."
    return "nothing was written."


def _measured(
    model: str, data: str, origin: shared.Origin, transform: str, measures: list[str], options: Options
) -> Result:
    import invariscope as iv
    from invariscope.cli.expressions import read_measures, read_transform
    from invariscope.cli.fitting import class_order
    from invariscope.cli.models import loaded

    elements, wanted = read_transform(transform), read_measures(measures)
    named, inputs = loaded(model, data, origin, seed=options.seed, transform=elements)
    keywords: dict[str, Any] = vars(options) | {"label": options.label or named.label} | named.feeding
    keywords["classes"] = class_order(options.classes, named, inputs)
    result = iv.measure(named.model, inputs, elements, measures=wanted, **keywords)
    if result.shard is not None:
        return named.summary(result)
    return _illustrated(named.summary(result), named, inputs, elements)


def _illustrated(result: Result, named: Named, inputs: Any, elements: Transform) -> Result:
    """Add feature maps along an orbit if the measurement has none and the data can be read a second time."""
    import invariscope as iv
    from invariscope.common.symbols import first_of

    images = getattr(inputs, "images", None)
    if any(name.startswith("feature:") for name in result.examples):
        return result
    measure = first_of(["normalized_variance"], (key[0] for key in result.maps))
    if images is None or images.ndim != 4 or measure is None:
        return result
    options: Any = {"measure": measure, "preprocess": named.preprocess}
    return iv.illustrate(result, named.model, inputs, elements, **options)


def show_result(result: Result, out: Path) -> None:
    """Print the tables and remarks of a result, and where its report is."""
    from invariscope.cli.tables import remarks, result_tables

    for table in result_tables(result):
        show(table, "")
    for remark in remarks(result):
        notice(f"note: {remark}")
    show_line(str(out / "report.html"))
