"""Accumulate measures over batches and processes, as a torchmetrics metric."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.engine.pipeline import untouched_generators
from invariscope.engine.sharding.processes import bare
from invariscope.engine.task import Task
from invariscope.loggers.batches import BatchSource, Joined, Sums
from invariscope.loggers.places import names_of_places, place_of
from invariscope.measures.base import Measure, as_measures
from invariscope.results.result import Result
from invariscope.transforms import as_transform

try:
    import torchmetrics
    from torchmetrics.utilities.distributed import gather_all_tensors
except ImportError as error:
    raise ImportError("SymmetryMetric needs torchmetrics: pip install 'invariscope[torchmetrics]'") from error

_OPTIONS = ("layers", "output", "preprocess", "call", "pool", "batch_axis", "batch_size", "gradients")
_OPTIONS += ("device", "precision", "unstable", "units", "floor", "intervals", "rows", "memory_gb", "classes")
_OPTIONS += ("label", "seed")


class SymmetryMetric(torchmetrics.Metric):
    """A torchmetrics metric that accumulates measures of a model's response to a transform over batches.

        metric = iv.loggers.SymmetryMetric(iv.QuarterTurns(), measures="consistency, prediction")
        for images, labels in loader:
            metric.update(model, images, labels)
        metric.compute()  # {"consistency/output": tensor(0.93), "prediction.flips/output": ...}
        metric.result()   # the complete Result, with intervals, nulls, maps and curves

    Each update forwards the transformed batch through the model and adds it to the sums of `iv.measure`;
    inputs, except for the first five, and responses are not kept. Values are those of `iv.measure` on the
    same samples, up to rounding, for any division into batches of at least five samples.

    Nulls and `equivariance_deviation` compare each sample with its neighbour in the batch, and intervals use
    random groups, so they differ from those of `iv.measure` by chance; as for a stream, intervals need about
    150 samples, and nulls need shuffled batches. If a sample occurs in two batches, a transform with random
    elements draws the same elements for it. Every process takes its own first samples as the reference by
    which sparse units are found. With several processes, or after a state was loaded, a unit close to the
    threshold may therefore count as sparse or not, which changes layer values by about 1e-4.

    The name of a value is `MEASURE/LAYER`, as in all loggers. `MetricCollection`, `forward`, `reset`,
    `clone`, `state_dict` (after `persistent(True)`) and synchronisation over processes work as usual. A
    `DistributedSampler` repeats a few samples, which are then counted twice, as in every metric.

    Args:
        transform: a `Transform`, or a list of callables on batches.
        measures: measure objects or registry names.
        options: options of `iv.measure` that concern the model and the measures, such as `layers`,
            `preprocess`, `output`, `units`, `seed` or `floor`; and those of `torchmetrics.Metric`.

    Raises:
        ImportError: the extra `torchmetrics` is not installed.
        ValueError: a measure that needs all samples in advance, or a preset that follows their order.
        TypeError: an unknown option.

    >>> import invariscope as iv, torch
    >>> _ = torch.manual_seed(0)
    >>> model, images = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3)), torch.rand(16, 1, 9, 9)
    >>> metric = SymmetryMetric(iv.QuarterTurns())
    >>> metric.update(model, images[:9])
    >>> metric.update(model, images[9:])
    >>> whole = iv.measure(model, images, iv.QuarterTurns(), progress=False)
    >>> value = metric.compute()["normalized_variance/0"]
    >>> bool(abs(float(value) - whole.table["value"][0]) < 1e-12)
    True
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    sums: list[Tensor]

    def __init__(self, transform: Any, measures: Any = ("normalized_variance",), **options: Any) -> None:
        own = {name: options.pop(name) for name in _OPTIONS if name in options}
        if wrong := [name for name in options if name in Options.__dataclass_fields__]:
            raise TypeError(
                f"{wrong[0]}= needs all samples, but a metric sees one batch at a time: use iv.measure"
            )
        options.setdefault("dist_sync_fn", _gathered)
        try:
            super().__init__(**options)
        except ValueError as error:  # of unknown keyword arguments
            raise TypeError(f"SymmetryMetric: {error}") from error
        self.transform, self.measures = as_transform(transform), as_measures(measures)
        self.options = Options(progress=False, **own)
        _refuse_whole(self.measures, self.options)
        self._result: Result | None = None
        self._first: BatchSource | None = None
        self._in_forward = False
        self.add_state("sums", default=[], dist_reduce_fx="cat")

    @without_autocast()
    @without_default_device()
    def update(self, model: Any, inputs: Any, labels: Any = None) -> None:
        """Forward a batch under all elements of the transform, and add it to the sums.

        Args:
            model: as for `iv.measure`; usually a module.
            inputs: a batch: a tensor or array (sample, ...), or a list or mapping of samples.
            labels: one label per sample, for measures that need them.
        Raises:
            ValueError: the batch cannot be measured; see `iv.measure`.
        """
        started = time.perf_counter()
        # Tensors made in inference mode, as in Lightning's validation, do not say whether they were changed.
        with torch.inference_mode(False), torch.no_grad(), untouched_generators():
            model = bare(model)
            parts = list(Sums.all_of(_content(self.sums)))
            source = self._source(model, _usable(inputs), _usable(labels))
            source.start = sum(part.document["samples"] for part in parts)
            new = Sums.of(self._task(model, source), self._what(), time.perf_counter() - started)
            self._first = self._first or source.beginning()
            whole = Joined.of([*parts, new], self.measures).sums() if parts else new
            content = np.frombuffer(whole.to_bytes(), np.uint8).copy()
            self.sums = [torch.from_numpy(content).to(self.device)]

    def compute(self) -> dict[str, Tensor]:
        """Return the values over all samples by name, `MEASURE/LAYER`; undefined values are NaN."""
        with torch.inference_mode(False), torch.no_grad():
            parts = list(Sums.all_of(_content(self.sums)))
            if not parts:
                raise ValueError("the metric has no samples; call update(model, inputs) first")
            self._result = Joined.of(parts, self.measures).result(self.measures)
            kind = torch.float32 if self.device.type == "mps" else torch.float64
            names = names_of_places(self._result)
            return {
                f"{row.measure}/{names[place_of(row)]}": torch.tensor(
                    float(row.value), dtype=kind, device=self.device
                )
                for row in self._result.rows
                if row.stratum == "all"
            }

    def result(self) -> Result:
        """Return the complete result of all batches, in all processes."""
        self.compute()
        assert self._result is not None
        return self._result

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Add a batch, as `update` does, and return the values of this batch alone."""
        self._in_forward = True  # which resets the sums, and restores them
        try:
            return super().forward(*args, **kwargs)
        finally:
            self._in_forward = False

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self._result = None
        if not self._in_forward:
            self._first = None

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Return a figure and axes with the given values, or those of `compute`."""
        return self._plot(val, ax)

    def _task(self, model: Any, source: BatchSource) -> Task:
        options, reader = self.options, self.options.reader(model)
        if options.preprocess is None and source.collate is not None:
            options = replace(options, preprocess=source.collate)
            reader = options.reader(model)
        return Task(model, reader, source, self.transform, self.measures, options)

    def _source(self, model: Any, inputs: Any, labels: Any) -> BatchSource:
        data = inputs if labels is None else (inputs, labels)
        channels_last = self.options.reader(model).channels_last
        source = BatchSource.of(data, seed=self.options.seed, channels_last=channels_last)
        source.first = self._first
        return source

    def _what(self) -> str:
        """Return what batches must share to be joined."""
        return repr((self.measures, self.transform.describe(), self.options.described(), self.options.seed))


def _content(sums: Sequence[Tensor] | Tensor) -> bytes:
    """Return the bytes of the state, which may have been concatenated, moved, or converted."""
    parts = [sums] if isinstance(sums, Tensor) else sums
    return b"".join(part.detach().to(device="cpu", dtype=torch.uint8).numpy().tobytes() for part in parts)


def _gathered(state: Tensor, group: Any = None) -> list[Tensor]:
    """Return the bytes of all processes; a process without samples has none, in another type."""
    return gather_all_tensors(state.to(torch.uint8), group)


def _usable(batch: Any) -> Any:
    """Return the batch with copies of tensors that were made in inference mode."""
    if isinstance(batch, Tensor):
        return batch.clone() if batch.is_inference() else batch
    if isinstance(batch, dict):
        return {name: _usable(value) for name, value in batch.items()}
    if isinstance(batch, list) or type(batch) is tuple:
        return type(batch)(map(_usable, batch))
    return batch


def _refuse_whole(measures: Sequence[Measure], options: Options) -> None:
    """Raise ValueError for what cannot be measured one batch at a time."""
    if options.precision == "bf16":
        raise ValueError("precision='bf16' is compared with float32 on all samples: use iv.measure")
    for measure in measures:
        needs = Needs.of([measure])
        reasons = {
            "measures a random network on all samples": measure.needs_reference,
            "follows the order of all samples": needs.positions,
            "computes thresholds or bins from all samples first": needs.pilot is not None,
            "needs a mean over all samples first": any(probe.unsettled for probe in needs.probes),
        }
        for reason, applies in reasons.items():
            if applies:
                raise ValueError(
                    f"{measure.label} {reason}, but a metric sees one batch at a time: use iv.measure"
                )
