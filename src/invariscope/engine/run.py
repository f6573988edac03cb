"""The loop: every transformed input through the model once, every layer reduced where it is produced."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.engine.checkpoint import Checkpoint
from invariscope.engine.guards import finite_samples, non_finite, refuse_unstable
from invariscope.engine.options import Options
from invariscope.engine.plan import (
    Strata,
    available_bytes,
    choose_buckets,
    chunks,
    flattened,
    refuse_too_large,
    rows_per_forward,
)
from invariscope.engine.progress import ticking
from invariscope.engine.sources import Fingerprint, Source, Window
from invariscope.measures.base import Measure
from invariscope.readers.base import OK, Inspection, LayerKey, Reader, Reading
from invariscope.statistics.base import Block, Statistic
from invariscope.statistics.orbit_state import NonFiniteError
from invariscope.transforms.base import Transform

OUTPUT: LayerKey = ("output", 0)


@dataclass
class Run:
    """What one pass leaves behind: states by layer and statistic, and how they came about."""

    strata: Strata
    inspection: Inspection
    states: dict[tuple[LayerKey, Statistic], Any] = field(default_factory=dict)
    aliases: dict[LayerKey, LayerKey] = field(default_factory=dict)
    skipped_samples: dict[LayerKey, int] = field(default_factory=dict)
    samples: int = 0
    forwards: int = 0
    input_shape: tuple[int, ...] = ()
    fingerprint: str = ""
    orbit: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)


class Runner:
    """One pass of one source through one model, for any number of measures."""

    def __init__(
        self,
        reader: Reader,
        source: Source,
        transform: Transform,
        measures: tuple[Measure, ...],
        options: Options,
    ) -> None:
        self.reader, self.source, self.transform, self.options = reader, source, transform, options
        self.layer_statistics = _distinct(m for m in measures if m.scope == "layers")
        self.output_statistics = _distinct(m for m in measures if m.scope == "output")
        self.pools = any(getattr(m, "pool", None) for m in measures)
        self.needs_identity = any(m.needs_identity for m in measures)
        self.extra = self.needs_identity and transform.identity is None
        self.identity = len(transform) if self.extra else transform.identity
        self.run: Run | None = None
        self.before = 0  # samples in the windows that have been walked
        self.checkpoint = self._checkpoint(measures) if options.checkpoint else None
        self.resumed: tuple[int, int, str] | None = None

    def _checkpoint(self, measures: tuple[Measure, ...]) -> Checkpoint:
        identity = {
            "model": self.reader.fingerprint(),
            "transform": self.transform.describe(),
            "measures": [repr(measure) for measure in measures],
            "options": self.options.described() | {"seed": self.options.seed},
        }
        return Checkpoint(Path(str(self.options.checkpoint)), identity)

    def __call__(self, tick: Callable[[int, int | None], None]) -> Run:
        """Walks the source; `tick(samples done, samples in all)` is called after each block."""
        digest, options = Fingerprint(), self.options
        with ExitStack() as stack:
            for number, window in enumerate(self.source.windows()):
                digest.add(window)
                if self.run is None:
                    self.run = self._begin(window)
                    opened = self.reader.open(
                        device=options.device, precision=options.precision, seed=options.seed
                    )
                    self.forward = stack.enter_context(opened)
                self._walk(number, window, digest.hexdigest(), tick)
        run = self._finished()
        run.fingerprint = digest.hexdigest()
        if self.checkpoint is not None:
            self.checkpoint.remove()
        return run

    def _finished(self) -> Run:
        if self.run is None:
            raise ValueError("the data are empty: the iterable gave no batch")
        if self.run.samples < 2:
            raise ValueError(f"got {self.run.samples} sample: a variance across samples needs at least two")
        return self.run

    def _begin(self, window: Window) -> Run:
        first, options = window.inputs[:3], self.options
        self.transform.check(first)
        probe = self.transform.orbit(first, indices=window.indices[:3], seed=options.seed)[:, 0]
        inspection = self.reader.inspect(probe, device=options.device, precision=options.precision)
        strata = Strata(options.by_class and bool(self.layer_statistics))
        run = Run(strata, inspection, input_shape=tuple(window.inputs.shape[1:]))
        run.notes += refuse_unstable(self.reader, window.inputs[:4], options)
        shown = self.transform.orbit(first[:1], indices=window.indices[:1], seed=options.seed)[0]
        run.orbit = shown.detach().float().cpu().numpy().copy()
        self._plan_memory(run)
        if self.checkpoint is not None:
            self.resumed = self.checkpoint.read(run, self.layer_statistics + self.output_statistics)
        return run

    def _plan_memory(self, run: Run) -> None:
        sizes = [int(np.prod(info.shape)) for info in run.inspection.layers if info.status == OK]
        self.rows = rows_per_forward(self.options.batch_size, max(sizes, default=1), self._device())
        columns = sum(1 + (getattr(s, "spread", "") == "std") for s in self.layer_statistics)
        self.bucket_bytes = 8 * sum(sizes) * (columns * len(self.transform) + 3)
        self.budget = available_bytes(self.options.memory_gb)
        reason = choose_buckets(
            run.strata,
            self.bucket_bytes,
            budget=self.budget,
            intervals=self.options.intervals,
            cells=self._known_cells(run),
        )
        if reason:
            run.notes.append(f"no intervals: {reason}")

    def _known_cells(self, run: Run) -> np.ndarray | None:
        """The cells of all samples, if they can be known before the walk."""
        labels = self.source.labels
        if self.source.length is None or (run.strata.by_class and labels is None):
            return None
        return run.strata.cells_of(np.arange(self.source.length), labels)

    def _device(self) -> str:
        return self.options.device or self.reader.device

    def _walk(
        self, number: int, window: Window, digest: str, tick: Callable[[int, int | None], None]
    ) -> None:
        run = self.run
        assert run is not None
        positions = np.arange(self.before, self.before + len(window.inputs))
        cells = run.strata.cells_of(positions, window.labels)
        ranks, sizes = run.strata.ranks_of(window.labels, len(positions))
        self._enlarge(run)
        order = np.argsort(cells, kind="stable")
        per_block = max(1, self.rows // (len(self.transform) + self.extra))
        per_block -= per_block % 4 if per_block > 4 else 0  # the reduction takes samples four at a time
        for block, chosen in enumerate(chunks(order, per_block)):
            if not self._done_before(number, block, digest):
                membership = run.strata.membership(cells[chosen])
                shared = {"membership": membership, "ranks": ranks[chosen], "sizes": sizes[chosen]}
                self._block(window, chosen, shared)
                run.samples += len(chosen)
                self._save(number, block + 1, digest)
            tick(min(self.before + (block + 1) * per_block, self.before + len(order)), self.source.length)
        self.before += len(order)

    def _done_before(self, number: int, block: int, digest: str) -> bool:
        """Whether a checkpoint already holds this block."""
        if self.resumed is None:
            return False
        windows, blocks, data = self.resumed
        if number == windows and digest != data:
            raise ValueError("the checkpoint was made with other data; give another checkpoint file")
        return (number, block) < (windows, blocks)

    def _save(self, windows: int, blocks: int, digest: str) -> None:
        if self.checkpoint is not None and self.checkpoint.due():
            assert self.run is not None
            self.checkpoint.write(self.run, windows=windows, blocks=blocks, data=digest)

    def _enlarge(self, run: Run) -> None:
        """Room for classes that a stream has shown only now."""
        refuse_too_large(self.bucket_bytes * run.strata.buckets, self.budget, "the classes met so far")
        for (_, statistic), state in run.states.items():
            if len(state.counts) < run.strata.buckets:
                statistic.enlarge(state, run.strata.buckets)

    def _block(self, window: Window, chosen: np.ndarray, shared: dict[str, Any]) -> None:
        run = self.run
        assert run is not None
        inputs = window.inputs[torch.from_numpy(chosen)]
        indices = window.indices[chosen]
        orbit = self.transform.orbit(inputs, indices=indices, seed=self.options.seed)
        rows, sample_step, element_step = flattened(orbit, inputs if self.extra else None)
        labels = None if window.labels is None else window.labels[torch.from_numpy(chosen)]
        steps = {
            "sample_step": sample_step,
            "element_step": element_step,
            "identity": self.identity,
        }
        make = _BlockMaker(
            len(chosen), len(self.transform), {**shared, **steps, "indices": indices, "labels": labels}
        )
        output = self.forward(rows, lambda reading: self._reduce(reading, make))
        run.forwards += len(rows)
        for statistic in self.output_statistics:
            self._update(OUTPUT, statistic, make(_first_tensor(output)))

    def _reduce(self, reading: Reading, make: _BlockMaker) -> None:
        run = self.run
        assert run is not None
        if reading.status != OK or reading.values is None:
            return
        key = (reading.layer, reading.call)
        if reading.alias_of is not None and self._same_numbers(reading, run):
            run.aliases[key] = run.aliases.get(reading.alias_of, reading.alias_of)
            return
        for statistic in self.layer_statistics:
            self._update(key, statistic, make(reading.values))

    def _same_numbers(self, reading: Reading, run: Run) -> bool:
        """Whether a view has the numbers of what it repeats: pooling tells a flattened map from the map."""
        if not self.pools:
            return True
        shapes = {(info.layer, info.call): info.shape for info in run.inspection.layers}
        assert reading.alias_of is not None
        return shapes.get((reading.layer, reading.call)) == shapes.get(reading.alias_of)

    def _update(self, key: LayerKey, statistic: Statistic, block: Block) -> None:
        run = self.run
        assert run is not None
        if self.options.nonfinite == "skip":
            block, left_out = finite_samples(block)
            if left_out:
                run.skipped_samples[key] = run.skipped_samples.get(key, 0) + left_out
            if not block.samples:
                return
        state = run.states.get((key, statistic))
        if state is None:
            state = statistic.init(block, buckets=run.strata.buckets)
            run.states[key, statistic] = state
        try:
            statistic.update(state, block)
        except NonFiniteError:
            raise non_finite(key, block) from None


def walk(
    reader: Reader, source: Source, transform: Transform, measures: tuple[Measure, ...], options: Options
) -> Run:
    """One pass, with progress as the options say."""
    runner = Runner(reader, source, transform, measures, options)
    with ticking(options.progress, f"measuring {options.label or reader.name}") as tick:
        return runner(tick)


@dataclass(frozen=True)
class _BlockMaker:
    """What the blocks of all layers of one forward have in common."""

    samples: int
    elements: int
    shared: dict[str, Any]

    def __call__(self, values: Tensor) -> Block:
        return Block(values=values, samples=self.samples, elements=self.elements, **self.shared)


def _distinct(measures: Any) -> tuple[Statistic, ...]:
    return tuple(dict.fromkeys(statistic for measure in measures for statistic in measure.statistics()))


def _first_tensor(output: Any) -> Tensor:
    """The model's prediction: its output, or the first tensor in it."""
    while not isinstance(output, Tensor):
        if isinstance(output, dict):
            output = next(iter(output.values()))
        elif isinstance(output, (tuple, list)):
            output = output[0]
        else:
            output = torch.as_tensor(output)
    return output
