"""The loop: every transformed input through the model once, every layer reduced where it is produced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.engine.acting import act_on_maps, acting_elements, as_it_is
from invariscope.engine.arrival import UNKNOWN
from invariscope.engine.centring import grids_for
from invariscope.engine.checkpoint import Checkpoint
from invariscope.engine.floor import floor_notes, with_floor
from invariscope.engine.guards import (
    finite_samples,
    inspected,
    non_finite,
    refuse_nonfinite,
    refuse_other_shape,
    refuse_unstable,
)
from invariscope.engine.needs import Needs, lay_out, settle
from invariscope.engine.options import Options
from invariscope.engine.padding import padding_notes
from invariscope.engine.plan import (
    Size,
    Strata,
    available_bytes,
    by_cell,
    choose_buckets,
    chunks,
    paired_chunks,
    refuse_too_large,
    rows_per_forward,
)
from invariscope.engine.progress import ticking
from invariscope.engine.sources import Source, refuse_second_walk
from invariscope.engine.state import OUTPUT, Run
from invariscope.engine.window import Fingerprint, Window
from invariscope.measures.base import Batch, Measure
from invariscope.readers.base import OK, LayerInfo, LayerKey, Reader, Reading
from invariscope.statistics.base import Block, NotApplicableError, Statistic
from invariscope.statistics.orbit_state import NonFiniteError
from invariscope.transforms.base import Transform
from invariscope.uncertainty import SEQUENTIAL_REACH


class Runner:
    """One pass of one source through one model, for any number of measures.

    Args:
        enough: (run, samples walked) whether to stop there, asked at the end of each window.
    """

    def __init__(
        self,
        reader: Reader,
        source: Source,
        transform: Transform,
        needs: Needs,
        options: Options,
        *,
        enough: Callable[[Run, int], bool] | None = None,
    ) -> None:
        self.enough = enough
        self.reader, self.source, self.transform, self.options = reader, source, transform, options
        self.needs, self.labelling = needs, source.labelling.named(options.classes)
        self.forwarded = transform if needs.orbits else as_it_is()
        self.acting = acting_elements(transform, seed=options.seed)
        self.run: Run | None = None
        self.pilot: dict[tuple[LayerKey, Statistic], Any] = {}
        self.total = source.length
        self.before = 0  # samples in the windows that have been walked
        self.output_shape: tuple[int, ...] | None = None
        self.checkpoint = self._checkpoint() if options.checkpoint else None
        self.resumed: tuple[int, int, str] | None = None

    def _checkpoint(self) -> Checkpoint:
        identity = {
            "model": self.reader.fingerprint(),
            "transform": self.transform.describe(),
            "needs": repr(self.needs),
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
                if self.enough is not None and self.enough(self.run, self.before):
                    break
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
        few, options = window.part(0, min(3, len(window))), self.options
        first = few.inputs
        self.labelling.check(window.labels, by_class=options.by_class, compared=self.needs.labels)
        self.transform.check(first)
        moved = self.transform.orbit(first, indices=few.indices, keys=few.keys, seed=options.seed)
        samples, only_layers, probe = self.source.length or len(window), not self.needs.output, moved[:, 0]
        inspection = inspected(self.reader, probe, options, samples=samples, only_layers=only_layers)
        strata = Strata(options.by_class)
        reach = 1.0 if self.enough is None else SEQUENTIAL_REACH
        run = Run(strata, inspection, input_shape=tuple(first.shape[1:]), reach=reach)
        run.shapes = {(info.layer, info.call): info.shape for info in inspection.layers}
        run.labelled, run.labelling = window.labels is not None, self.labelling
        run.notes += refuse_unstable(self.reader, _first(window, 4), options)
        run.notes += padding_notes(
            self.transform, window.part(0, min(64, len(window))).inputs, seed=options.seed
        )
        run.grids = grids_for(self.reader, first, inspection, self.needs.layers, options)
        run.orbit = moved[0].detach().float().cpu().numpy().copy()
        if self.needs.paired and window.labels is None and self.source.walked()["order"] == "arrival":
            run.notes.append(UNKNOWN)
        self._walk_pilot(run)
        self._plan_memory(run)
        if self.checkpoint is not None:
            self.resumed = self.checkpoint.read(run, self.needs.layers + self.needs.output)
        if any(probe.unsettled for probe in self.needs.probes):
            refuse_second_walk(self.source, "a mean over all inputs must be known before the first forward")
            self.needs = settle(
                self.needs, self.forwarded, self.source.windows(), size=self.per_block, seed=options.seed
            )
        return run

    def _walk_pilot(self, run: Run) -> None:
        """Gathers what must be known of the untransformed inputs beforehand, in a walk of its own."""
        needs = self.needs.pilot
        if needs is None:
            return
        refuse_second_walk(self.source, "thresholds and bins come from a pilot, which walks the data first")
        runner = Runner(self.reader, self.source, as_it_is(), needs, self.options.quiet())
        if runner.total is None and any(s.sized for s in needs.layers + needs.output):
            runner.total = sum(len(window) for window in self.source.windows())
        pilot = runner(lambda done, total: None)
        everything = [list(range(pilot.strata.buckets))]
        self.pilot = {(k, s): s.finalize(state, everything) for (k, s), state in pilot.states.items()}
        run.forwards += pilot.forwards  # a checkpoint has counted them too, and says so when it is read
        run.notes.append(f"a pilot forwarded {pilot.forwards} untransformed inputs once more")
        noted = (note for (_, s), final in self.pilot.items() for note in s.notes(final))
        run.notes += dict.fromkeys(noted)

    def _plan_memory(self, run: Run) -> None:
        read = [info for info in run.inspection.layers if info.status == OK]
        sizes = [int(np.prod(info.shape)) for info in read]
        rows = rows_per_forward(self.options.batch_size, max(sizes, default=1), self._device())
        per_block = max(1, rows // self.needs.width(self.forwarded))
        # The reduction takes samples four at a time.
        self.per_block = per_block - (per_block % 4 if per_block > 4 else 0)
        found = [self._bytes_of(s, info) for s in self.needs.layers for info in read]
        self.size = Size(sum(bucket for bucket, _ in found), sum(stratum for _, stratum in found))
        self.budget = available_bytes(self.options.memory_gb)
        self.unit_bytes = (self.budget - self.size.of(1, 1)) / max(sum(sizes) * len(self.needs.layers), 1)
        reason = choose_buckets(
            run.strata,
            self.size,
            budget=self.budget,
            intervals=self.options.intervals,
            cells=self._known_cells(run),
        )
        if reason:
            run.notes.append(f"no intervals: {reason}")

    def _bytes_of(self, statistic: Statistic, info: LayerInfo) -> tuple[int, int]:
        """Memory of one bucket, and of one stratum, of a layer's state, by what the pilot has found."""
        units, elements = statistic.units_of(info.shape), len(self.forwarded)
        stratum = statistic.stratum_bytes(units, elements)
        if statistic.pilot is None:
            return statistic.bucket_bytes(units, elements), stratum
        known = self.pilot.get(((info.layer, info.call), statistic.pilot))
        return (0 if known is None else statistic.piloted_bytes(units, elements, known)), stratum

    def _known_cells(self, run: Run) -> np.ndarray | None:
        """The cells of all samples, if they can be known before the walk."""
        labels, order = self.source.labels, self.source.order
        if order is None or (run.strata.by_class and labels is None):
            return None
        return run.strata.cells_of(order.groups, labels)

    def _device(self) -> str:
        return self.options.device or self.reader.device

    def _walk(
        self, number: int, window: Window, digest: str, tick: Callable[[int, int | None], None]
    ) -> None:
        run = self.run
        assert run is not None
        cells = run.strata.cells_of(window.groups, window.labels)
        places = self._places(window) if self.needs.positions else None
        self._enlarge(run)
        self._meet(run, window, cells)
        for block, chosen in enumerate(self._blocks(window, cells)):
            if not self._done_before(number, block, digest):
                shared: dict[str, Any] = {"membership": run.strata.membership(cells[chosen])}
                if places is not None:
                    shared |= {"positions": places[0][chosen], "sizes": places[1][chosen]}
                self._block(window, chosen, shared)
                run.samples += len(chosen)
                self._save(number, block + 1, digest)
            tick(
                min(self.before + (block + 1) * self.per_block, self.before + len(cells)), self.source.length
            )
        self.before += len(cells)

    def _meet(self, run: Run, window: Window, cells: np.ndarray) -> None:
        """Record clusters, and whether the labels of a stream come sorted."""
        if window.clusters is not None:
            buckets = run.strata.membership(cells).buckets.T
            clusters = np.broadcast_to(window.clusters, buckets.shape)
            run.clusters = (run.clusters or set()) | set(zip(buckets.flat, clusters.flat, strict=True))
        if self.source.walked()["order"] == "arrival" and window.labels is not None:
            run.arrival.add(window.labels)

    def _places(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's position in its stratum, in the order of the data, and the stratum's size."""
        assert self.run is not None
        if len(window) != self.source.length:
            raise ValueError(
                "this preset follows the order of the samples in the data (within each class, if "
                "by_class=True), which needs all of them in memory: give arrays, (inputs, labels)"
            )
        return self.run.strata.positions_of(window.labels, window.indices)

    def _blocks(self, window: Window, cells: np.ndarray) -> Sequence[np.ndarray]:
        """Return the samples to forward together: those of one bucket, or whole pairs if pairs are needed."""
        if self.needs.paired:
            return paired_chunks(window.pairs, self.per_block)
        if window.clusters is not None:
            return paired_chunks(window.clusters, self.per_block)
        assert self.run is not None
        return chunks(by_cell(cells, self.run.strata.groups), self.per_block)

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
        needed = self.size.of(run.strata.buckets, run.strata.references)
        refuse_too_large(needed, self.budget, "the classes met so far")
        for (_, statistic), state in run.states.items():
            if len(state.counts) < run.strata.buckets:
                statistic.enlarge(state, run.strata.buckets)

    def _block(self, window: Window, chosen: np.ndarray, shared: dict[str, Any]) -> None:
        run = self.run
        assert run is not None
        inputs, batch = window.take(chosen), self._batch(window, chosen)
        labels = None if window.labels is None else window.labels[torch.from_numpy(chosen)]
        laid = lay_out(self.forwarded, self.needs.probes, inputs, batch=batch)
        shared |= {
            "samples": len(chosen),
            "elements": len(self.forwarded),
            "sample_step": laid.sample_step,
            "element_step": laid.element_step,
            "probes": laid.probes,
            "indices": batch.indices,
            "keys": batch.keys,
            "ranks": window.first + chosen,
            "partners": batch.partners if self.needs.paired else None,
            "clusters": None if window.clusters is None else window.clusters[chosen],
            "labels": self.labelling.numbers(labels),
            "names": self.labelling.names,
            "unaligned": self.labelling.unaligned,
            "total": self.total,
            "unit_bytes": self.unit_bytes,
            "act": partial(act_on_maps, self.transform, tuple(inputs.shape[2:]), self.options.seed),
            "acting": self.acting,
            "per_sample": self.transform.per_sample,
            "input_shape": tuple(inputs.shape[1:]),
            "distances": laid.distances(inputs) if self.needs.distances else None,
        }
        rows = len(laid.rows)
        output = self.forward(laid.rows, lambda reading: self._reduce(reading, shared, rows))
        run.forwards += len(laid.rows)
        if self.needs.output:
            values = _first_tensor(output).detach()
            self.output_shape = self.output_shape or tuple(values.shape[1:])
            refuse_other_shape(OUTPUT, tuple(values.shape), self.output_shape, rows=rows)
            self._update_all(OUTPUT, self.needs.output, Block(values=values, layer=OUTPUT[0], **shared))

    def _batch(self, window: Window, chosen: np.ndarray) -> Batch:
        """Return positions, keys and partners of a block; if pairs are needed, blocks hold whole pairs."""
        place = np.full(len(window) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        mates = place[window.partners[chosen]]
        return Batch(window.indices[chosen], window.keys[chosen], mates, self.options.seed)

    def _reduce(self, reading: Reading, shared: dict[str, Any], rows: int) -> None:
        run = self.run
        assert run is not None
        if reading.status != OK or reading.values is None:
            return
        key = (reading.layer, reading.call)
        refuse_other_shape(key, tuple(reading.values.shape), run.shapes.get(key), rows=rows)
        if reading.alias_of is not None and self._same_numbers(reading, run):
            run.aliases[key] = run.aliases.get(reading.alias_of, reading.alias_of)
            return
        unclear = key in run.inspection.unclear
        block = Block(values=reading.values, layer=reading.layer, unclear=unclear, **shared)
        self._update_all(key, self.needs.layers, block)

    def _same_numbers(self, reading: Reading, run: Run) -> bool:
        """Whether a view has the numbers of what it repeats: pooling tells a flattened map from the map."""
        if not self.needs.pools:
            return True
        assert reading.alias_of is not None
        return run.shapes.get((reading.layer, reading.call)) == run.shapes.get(reading.alias_of)

    def _update_all(self, key: LayerKey, statistics: tuple[Statistic, ...], block: Block) -> None:
        run = self.run
        assert run is not None
        if self.options.nonfinite == "skip":
            block, left_out = finite_samples(block)
            if left_out:
                run.skipped_samples[key] = run.skipped_samples.get(key, 0) + left_out
            if not block.samples:
                return
        elif not any(statistic.refuses_nonfinite for statistic in statistics):
            refuse_nonfinite(key, block)
        for statistic in statistics:
            self._update(key, statistic, block)

    def _update(self, key: LayerKey, statistic: Statistic, block: Block) -> None:
        run = self.run
        assert run is not None
        if (key, statistic) in run.inapplicable:
            return
        try:
            state = run.states.get((key, statistic))
            if state is None:
                pilot = None if statistic.pilot is None else self.pilot.get((key, statistic.pilot))
                state = statistic.init(block, buckets=run.strata.buckets, pilot=pilot)
                run.states[key, statistic] = state
            statistic.update(state, block)
        except NotApplicableError as error:
            run.inapplicable[key, statistic] = str(error)
            run.states.pop((key, statistic), None)  # part of the samples would be left
        except NonFiniteError:
            raise non_finite(key, block) from None


def walk(
    reader: Reader,
    source: Source,
    transform: Transform,
    measures: tuple[Measure, ...],
    options: Options,
    *,
    enough: Callable[[Run, int], bool] | None = None,
) -> Run:
    """One pass, with progress as the options say; it ends early where `enough` says so."""
    needs = Needs.of(measures)
    if options.floor and transform.invertible:
        needs = with_floor(needs, measures, transform)
    runner = Runner(reader, source, transform, needs, options, enough=enough)
    with ticking(options.progress, f"measuring {options.label or reader.name}") as tick:
        run = runner(tick)
    run.notes += floor_notes(measures, transform, options)
    return run


def _first(window: Window, count: int) -> Tensor:
    return window.part(0, min(count, len(window))).inputs


def _first_tensor(output: Any) -> Tensor:
    """The model's prediction: its output, or the first tensor in it."""
    while not isinstance(output, Tensor):
        if output is None:
            raise ValueError("the model returned None for some inputs; it must return one result per input")
        if isinstance(output, dict):
            output = next(iter(output.values()))
        elif isinstance(output, (tuple, list)):
            output = output[0]
        else:
            output = torch.as_tensor(output)
    return output
