"""The public function `iv.measure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.engine.malloc import kept_memory
from invariscope.engine.options import Options
from invariscope.engine.pipeline import measured
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
) -> Result:
    """Measure how a model's representations respond when its inputs are transformed.

    Every transformed input goes through the model once, whatever the number of measures. Responses are
    reduced where they are produced and never stored. The model and the global random generators are
    left unchanged.

    Args:
        model: an `nn.Module`, a Keras or Flax model, an exported program, the path of an `.onnx`, `.pt2` or
            `.keras` file, a `Reader`, or a callable from inputs to {layer: array}.
        data: array, tensor or DataFrame (sample, ...), a tuple (inputs, labels), a Dataset, a DataLoader, or
            an iterable of batches. Inputs must be what the model expects, such as floating-point images;
            images of a model that takes (n, H, W, C) are given so, and transforms see them as (n, C, H, W).
            Labels are one integer or word per sample; other targets, such as masks, are ignored with a note.
            Samples may also be of any other type: a list of texts, images or molecules, a mapping
            {field: one entry per sample}, a folder of images with one subfolder per class, a dataset or
            loader of mappings or graphs. A loader is taken apart: its samples are moved, then collated.
        transform: a `Transform`, or a list of callables, one per element: on batches if the data are one
            tensor, otherwise on single samples. `iv.On` names the fields of a sample that are moved.
        measures: measure objects or registry names (`iv.list_measures()`); one text may hold several,
            "nv, anova".
        layers: glob, list of globs, or predicate on `LayerInfo`; None reads every leaf module and every
            functional operation. A leading "!" excludes: ["*", "!*where*"], or "!*where*" for everything
            that None reads except those.
        by_class: also measure each class separately, and the mean over classes, in the same pass.
        classes: class names in the order of the model's outputs, which also name the strata. Measures that
            compare labels with outputs need them if labels are words, unless the data name their classes
            themselves (`data.classes`, `class_to_idx`).
        samples: measure a seeded subset of this many samples; for a stream, the first ones.
        batch_size: inputs per forward (samples × elements, at least one whole orbit), or "auto".
        device: where to run; None: where the model's parameters are.
        precision: "float32" (the model as it is), "float64", or "bf16" (a bfloat16 copy). A surrounding
            `torch.autocast` does not reach the model; one in the model's own forward does.
        seed: seed of the transform's draws and of the subset; the same seed gives the same numbers
            whatever the batch size.
        checkpoint: a file for the sums, written every half minute and removed at the end; the same
            call resumes from it after an interruption.
        progress: show a bar on the terminal, or call a function with (samples done, total samples).
        intervals: keep the sums that intervals need, which takes eight times as much memory.
        nonfinite: "raise" on NaN or infinite responses, or "skip" and count such samples.
        unstable: "refuse" or "measure" a model whose output depends on chance or on the rest of its batch.
        memory_gb: memory budget for the sums in GiB; None: half of the free memory.
        batch_axis: overrides the batch axis found for each layer.
        output: the part of the model's output that is its prediction, for measures of the output: a name
            (a key or field, "logits"), an index (1), or a function of the model's output that returns a
            tensor with one row per sample. None: the only floating-point tensor in it with one row per
            sample, found at two batch sizes; if there are several, or none, such measures raise an error.
        gradients: run forwards with autograd enabled, for models that differentiate inside their forward,
            such as potentials that return forces. Responses are detached when they are read. Forwards take
            more memory, since each keeps its graph.
        label: the model's name in tables and plots.
        baseline: "random" also measures the same architecture with random weights, in the same way, for
            `result.baseline`. This takes one pass per draw, before the model's own pass; a checkpoint does
            not include them. The weights are drawn by the initialisers of the modules (`reset_parameters`,
            `_init_weights` of transformers, `init_weights` of timm); a weight that none of them sets
            raises an error that names it. For such a model, pass a function without arguments that returns
            the same architecture with new weights at each call. Global generators are seeded before each
            call.
        draws: number of random networks.
        floor: also measure inputs that were transformed and transformed back, for the column `floor`: the
            value that interpolation and padding alone cause. Doubles the number of forwarded inputs. NaN for
            a transform without an inverse.
        width: stop as soon as the 95 % interval of every deciding row is at most this wide. Arrays and
            datasets are read in the seeded random order from which samples= takes the first; streams in
            order of arrival. Intervals are checked each time the number of samples has grown by a factor of
            √2, and are widened by 10 %, because runs tend to stop when chance has made them narrow: their
            coverage at the stopping time is 93 to 97 % in simulations (benchmarks/results/sequential.md).
            `provenance["sequential"]` records how many samples were used, and why.
        at_least: number of samples before the first look, 64 or more. If there are fewer samples, all are
            used without a look, and a note says so.
        decided_by: the rows that decide, "measure" or "layer:measure" as globs ("conv*:normalized_variance").
            None: every row that has an interval, including those of single classes.
        ids: one integer or string per sample that identifies it, in the order of the data. Draws, pairs,
            groups and subsets follow these ids, so that results do not depend on the order in which samples
            are stored. By default, samples of arrays are identified by their content, and those of datasets
            and streams by their index.
        clusters: one integer or string per sample, equal for samples that belong together, such as crops of
            one image or frames of one video. Intervals are then over clusters, and nulls pair each sample
            with one from another cluster.
        labels: one label per sample, or the name of the field that holds it; by default, the field "labels"
            or "label" of mappings. The model does not get this field.
        preprocess: a function from moved samples (a tensor, or a list) to what the model gets: normalise,
            tokenise, collate. By default, samples of one shape are stacked, graphs are batched, and the
            samples of a loader go through its `collate_fn`. It runs after the transformation; whatever was
            done to the data before comes before it.
        call: (model, batch) -> output. By default, a mapping is passed as keywords, a tuple or list as
            positional arguments, and anything else as the only argument.
        pool: {name or glob of layers: `iv.Pool(...)` or `iv.Rows(...)`}, for layers with several rows per
            sample: tokens, nodes, atoms.
        repeats: above 1, for models that draw random numbers in their forward: the untransformed inputs are
            also forwarded this many times each, and the column `chance` holds the value that the model's own
            randomness causes. A value near it says nothing about the transformation.
        rows: "compact" leaves out layers that repeat the values of another measured layer (identities,
            dropout in evaluation mode, flattened maps), unless `layers` names them without wildcards, and
            says so in a note; "all" lists them too.

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
    )
    with kept_memory():
        return measured(model, data, as_transform(transform), as_measures(measures), options)
