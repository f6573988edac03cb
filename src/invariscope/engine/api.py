"""The public function `iv.measure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.common.exits import refused_exits
from invariscope.engine.malloc import kept_memory
from invariscope.engine.options import EVERY_SECONDS, Options
from invariscope.engine.pipeline import measured
from invariscope.engine.sharding.processes import bare
from invariscope.measures.base import as_measures
from invariscope.readers.base import Precision
from invariscope.results.result import Result
from invariscope.transforms import as_transform


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
    precision: Precision = "float32",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = EVERY_SECONDS,
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
    labels: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    pool: Any = None,
    repeats: int = 1,
    rows: str = "compact",
    units: int | str = "auto",
    class_maps: bool | None = None,
    shard: tuple[int, int] | str | bool | None = None,
) -> Result:
    """Measure how a model's representations respond when its inputs are transformed.

    Every transformed input goes through the model once, whatever the number of measures. Responses are
    reduced as soon as they are produced and never stored. The model and the global random generators are
    left unchanged.

    Args:
        model: an `nn.Module`, a Keras or Flax model, an exported program, the path of an `.onnx`, `.pt2` or
            `.keras` file, a `Reader`, or a callable from inputs to {layer: array}.
        data: array, tensor or DataFrame (sample, ...), a tuple (inputs, labels), a Dataset, a DataLoader, or
            an iterable of batches. Inputs must be what the model expects, such as floating-point images.
            Pass images as (n, H, W, C) if the model takes them so; transforms still see (n, C, H, W).
            Labels are one integer or string per sample; other targets, such as masks, are ignored with a
            note. Samples may also be of any other type: a list of texts, images or molecules, a mapping
            {field: one entry per sample}, a folder of images with one subfolder per class, or a dataset or
            loader of mappings or graphs. Samples of a loader are transformed before they are collated.
        transform: a `Transform`, or a list of callables, one per element, which receive batches if the data
            are one tensor, and single samples otherwise. `iv.On` selects the fields to transform.
        measures: measure objects or registry names (`iv.list_measures()`); a string may list several, as in
            "nv, anova".
        layers: glob, list of globs, or predicate on `LayerInfo`; None reads every leaf module and every
            functional operation. A leading "!" excludes layers, as in ["*", "!*where*"]; on its own,
            "!*where*" excludes them from what None reads.
        by_class: also measure each class separately, and the mean over classes, in the same pass.
        classes: class names in the order of the model's outputs; they also name the strata. If labels are
            strings, measures that compare labels with outputs require class names, unless the data provide
            them (`data.classes`, `class_to_idx`).
        samples: measure a seeded random subset of this many samples, or the first ones of a stream.
        batch_size: inputs per forward pass, or "auto". Larger orbits are divided among several passes.
        device: device to run on; None: the device of the model's parameters.
        precision: "float32" (the model as it is), "float64", or "bf16" (a bfloat16 copy). A surrounding
            `torch.autocast` has no effect on the model; one inside the model's own `forward` does.
        seed: seed of the transform's draws and of the subset; the same seed gives the same numbers
            whatever the batch size.
        checkpoint: file in which to save the running sums at intervals, and when Ctrl-C or an error ends the
            run between two blocks. The same call resumes from it, with the numbers of an uninterrupted run,
            and removes it at the end; a call with other arguments raises an error that says what differs.
            Shards add their numbers to the file's name. Finished passes of random networks are kept beside
            it, in a file with the suffix `.passes`. Classes are not walked in turn.
        checkpoint_every: seconds between two writes of the checkpoint; 0 writes after every block.
        progress: True shows a bar on the terminal; a function is called with (samples done, total samples).
        intervals: compute intervals, for which the sums take eight times as much memory.
        nonfinite: "raise" an error for NaN or infinite responses, or "skip" such samples and count them.
        unstable: "refuse" (raise an error for) or "measure" a model whose output depends on chance or on the
            rest of its batch.
        memory_gb: memory budget in GiB for the sums and the responses of one forward; None: half of the free
            memory. Layers whose sums do not fit have no intervals, with a note.
        batch_axis: the batch axis if it cannot be found: one for all layers, or {name or glob: axis}.
        output: the part of the model's output that is its prediction, for measures of the output: the name
            of a key or field ("logits"), an index (1), or a function of the model's output that returns a
            tensor with one row per sample. None: its only floating-point tensor with one row per sample,
            found at two batch sizes; if there is none, or more than one, such measures raise an error.
        gradients: run forward passes with autograd enabled, for models that differentiate inside their
            `forward`, such as potentials that return forces. Responses are detached when they are read.
            Forward passes take more memory, since each keeps its graph.
        label: the model's name in tables and plots.
        baseline: "random" also measures networks of the same architecture with random weights, for
            `result.baseline`. Each network takes one pass before the model's own. Weights are drawn by the
            modules' own initialisers (`reset_parameters`, `_init_weights` of transformers, `init_weights` of
            timm); a weight that none of them sets raises an error. For such a model, pass a function without
            arguments that returns the same architecture with new weights at each call. Global random
            generators are seeded before each call.
        draws: number of random networks.
        floor: also measure inputs that were transformed and transformed back. The column `floor` holds the
            value measured on them, which interpolation and padding alone cause; it is NaN for a transform
            without an inverse. Doubles the number of forwarded inputs.
        width: stop as soon as the 95 % interval of every deciding row is at most this wide. Arrays and
            datasets are read in the seeded random order that `samples` uses, streams in order of arrival.
            Intervals are checked each time the number of samples has grown by a factor of √2. They are
            widened by 10 %, because a run tends to stop when they are narrow by chance: in simulations, their
            coverage at the stopping time is 93 to 97 % (benchmarks/results/sequential.md).
            `provenance["sequential"]` records how many samples were used, and why.
        at_least: number of samples before intervals are first checked, 64 or more. If the data have fewer,
            all are used, and a note says so.
        decided_by: the rows whose intervals `width` applies to, as a glob "measure" or "layer:measure", such
            as "conv*:normalized_variance". None: every row with an interval, including rows of classes.
        ids: one integer or string per sample that identifies it, in the order of the data. Draws, pairs,
            groups and subsets depend on the ids, so that results do not depend on the order in which samples
            are stored. By default, samples of arrays are identified by their content, and those of datasets
            and streams by their index.
        clusters: one integer or string per sample, equal for samples that belong together, such as crops of
            one image or frames of one video. Intervals are then over clusters, and nulls pair each sample
            with one from another cluster.
        labels: one label per sample, or the name of the field that holds it; by default, the field "labels"
            or "label" of mappings. This field is not passed to the model.
        preprocess: a function that turns transformed samples (a tensor or a list) into the model's input, for
            instance by normalising, tokenising or collating. By default, samples of one shape are stacked,
            graphs are batched, and samples of a loader are collated by its `collate_fn`. Anything that the
            data went through before this call precedes the transformation.
        call: a function (model, batch) -> output. By default, a mapping is passed as keyword arguments, a
            tuple or list as positional arguments, and anything else as the only argument.
        pool: {name or glob of layers: `iv.Pool(...)` or `iv.Rows(...)`}, for layers with several rows per
            sample, such as tokens, nodes or atoms.
        repeats: if above 1, number of additional forward passes of each untransformed input, for models that
            draw random numbers in their `forward`. The column `chance` then holds the value that the model's
            own randomness causes; a value near it says nothing about the transformation.
        units: "all" units of every layer, a number of units to draw from each layer, or "auto": all units of
            layers with up to 65,536 units, and 4,096 units drawn from each larger layer. If more than a
            quarter of a layer's units would be drawn, all of them are used. Intervals include the error that
            drawing causes, which the column `drawing_error` holds as a standard error; measures of whole
            vectors and published presets use all units. Maps hold NaN for units that were not drawn.
        rows: "compact" leaves out layers that repeat the values of another measured layer (identities,
            dropout in evaluation mode, flattened maps), unless `layers` names them without wildcards, and
            names them in a note; "all" lists them too.
        class_maps: whether to keep the per-unit maps of each class; None keeps them for at most 32 classes.
        shard: (k, K) measures the share of process k of K, with k from 0 to K - 1, and "slurm" that of a task
            of a SLURM array. The result has no rows: save it, and join all shards with `iv.merge`, which
            gives the numbers of a single process. Every process needs the same data and arguments. By
            default, the processes of a `torch.distributed` group divide the samples among themselves, and
            each returns the merged result; False measures all samples in this process alone.

    Returns:
        A `Result` with `table`, `maps`, `curves`, `baseline`, `provenance`.

    Raises:
        ValueError: empty data, fewer than two samples or elements, labels of a different length,
            unknown names, a pattern that matches no layer, NaN or infinite responses.
        TypeError: unsupported data or model, or an image transform on other data.

    >>> import invariscope as iv, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
    >>> result = iv.measure(model, torch.rand(16, 1, 9, 9), iv.QuarterTurns(), progress=False)
    >>> result.table["layer"].tolist()
    ['0', '1']
    """
    _refuse_alone("checkpoint_every", "how often to write", checkpoint_every, checkpoint=checkpoint)
    _refuse_alone("draws", "how many random networks are measured", draws, baseline=baseline)
    _refuse_alone("at_least", "when intervals are first checked", at_least, width=width)
    options = Options(
        layers=layers,
        by_class=by_class,
        classes=classes,
        samples=samples,
        batch_size=batch_size,
        device=device,
        precision=precision,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
        intervals=intervals,
        nonfinite=nonfinite,
        unstable=unstable,
        memory_gb=memory_gb,
        batch_axis=batch_axis,
        output=output,
        gradients=gradients,
        label=label,
        baseline=baseline,
        draws=draws,
        floor=floor,
        width=width,
        at_least=at_least,
        decided_by=decided_by,
        ids=ids,
        clusters=clusters,
        labels=labels,
        preprocess=preprocess,
        call=call,
        pool=pool,
        repeats=repeats,
        rows=rows,
        units=units,
        class_maps=class_maps,
        shard=shard,
    )
    with kept_memory(), refused_exits():
        return measured(bare(model), data, as_transform(transform), as_measures(measures), options)


def _refuse_alone(name: str, says: str, value: Any, **partner: Any) -> None:
    """Raise ValueError if an option is given without the one that it belongs to."""
    [(other, given)] = partner.items()
    if given is None and value != getattr(Options, name):
        raise ValueError(f"{name}= says {says}: pass {other}= too")
