"""The loop: every transformed input through the model once, every layer reduced where it is produced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invariscope.data.sources import Source, refuse_second_walk
from invariscope.data.window import Fingerprint, Window
from invariscope.engine.arrival import UNKNOWN
from invariscope.engine.checkpoint import Checkpoint, refuse_unseen
from invariscope.engine.extras.audit import Audit
from invariscope.engine.extras.floor import floor_notes, with_floor
from invariscope.engine.extras.grid_notes import grids_for
from invariscope.engine.extras.padding import padding_notes
from invariscope.engine.feature_motion import act_on_maps, acting_elements, as_it_is
from invariscope.engine.needs import Needs, lay_out, settle
from invariscope.engine.options import Options
from invariscope.engine.plan import (
    Size,
    Strata,
    available_bytes,
    by_cell,
    choose_buckets,
    paired_chunks,
    refuse_too_large,
    rows_per_forward,
    whole_fours,
)
from invariscope.engine.progress import ticking
from invariscope.engine.reduction import Reduction
from invariscope.engine.state import Run
from invariscope.engine.validation import inspected, refuse_unreadable, refuse_unstable
from invariscope.intervals import SEQUENTIAL_REACH
from invariscope.measures.base import Measure
from invariscope.readers.base import OK, Forward, LayerInfo, LayerKey, Reader
from invariscope.readers.batch_dependence import PredictingForward, distinct_rows, examine
from invariscope.readers.fingerprint import identify
from invariscope.statistics.base import Statistic
from invariscope.statistics.probes import Batch
from invariscope.transforms.base import Transform

_CHECKED = 16  # samples spread over the first window


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
        self.audit: Audit | None = None
        self.checkpoint = self._checkpoint() if options.checkpoint else None
        self.resumed: tuple[int, int, str] | None = None

    def _checkpoint(self) -> Checkpoint:
        identities = {
            "model": self.reader.identity(),
            "elements": identify(self.transform, "transform"),
            "statistics": identify(self.needs, "measures"),
            "layers": identify(self.options.layers, "layers"),
            "output": identify(self.options.output, "output"),
        }
        refuse_unseen([place for identity in identities.values() for place in identity.unseen])
        identity = {
            "transform": self.transform.describe(),
            "needs": repr(self.needs),
            "options": self.options.described() | {"seed": self.options.seed, "layers": None},
        }
        digests = {name: identity.digest for name, identity in identities.items()}
        return Checkpoint(Path(str(self.options.checkpoint)), identity | digests)

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
                    self._start(stack.enter_context(opened))
                self._walk(number, window, digest.hexdigest(), tick)
                if self.enough is not None and self.enough(self.run, self.before):
                    break
            if self.audit is not None:
                self.audit.finish()
        run = self._finished()
        run.fingerprint = digest.hexdigest()
        if self.checkpoint is not None:
            self.checkpoint.remove()
        return run

    def _start(self, forward: Forward) -> None:
        assert self.run is not None
        self.reduction = Reduction(self.run, self.needs, self.options, self.pilot)
        self.forward, self.audit = forward, None
        if self.options.unstable == "refuse":
            model = PredictingForward(forward, self.run.inspection.prediction)
            self.audit = Audit(model, self.check_inputs, self.check_responses, self.reduction.withdraw)

    def _finished(self) -> Run:
        if self.run is None:
            raise ValueError("the data are empty: the iterable gave no batch")
        if self.run.samples < 2:
            raise ValueError(f"got {self.run.samples} sample: a variance across samples needs at least two")
        if not self.needs.output:
            refuse_unreadable(self.run.inspection)
        return self.run

    def _begin(self, window: Window) -> Run:
        few, options = window.part(0, min(3, len(window))), self.options
        first = few.inputs
        self.labelling.check(window.labels, by_class=options.by_class, compared=self.needs.labels)
        self.transform.check(first)
        moved = self.transform.orbit(first, indices=few.indices, keys=few.keys, seed=options.seed)
        samples, of_output, probe = self.source.length or len(window), bool(self.needs.output), moved[:, 0]
        inspection = inspected(self.reader, probe, options, samples=samples, of_output=of_output)
        strata = Strata(options.by_class)
        reach = 1.0 if self.enough is None else SEQUENTIAL_REACH
        run = Run(strata, inspection, input_shape=tuple(first.shape[1:]), reach=reach)
        run.shapes = {(info.layer, info.call): info.shape for info in inspection.layers}
        run.labelled, run.labelling = window.labels is not None, self.labelling
        run.notes += [inspection.prediction.note] if of_output and inspection.prediction.note else []
        self._check_dependence(window, run)
        run.notes += padding_notes(
            self.transform, window.part(0, min(64, len(window))).inputs, seed=options.seed
        )
        run.grids = grids_for(self.reader, first, inspection, self.needs.layers, options)
        if moved.ndim == 5 and not moved.is_complex():  # images, which reports show
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
        if not self.needs.output:
            refuse_unreadable(run.inspection)
        return run

    def _check_dependence(self, window: Window, run: Run) -> None:
        """Check whether responses depend on chance, or on the other inputs of the batch."""
        options = self.options
        spread = np.linspace(0, len(window) - 1, min(len(window), _CHECKED)).round().astype(np.int64)
        chosen = spread[distinct_rows(window.take(spread))]
        who = {"indices": window.indices[chosen], "keys": window.keys[chosen]}
        moved = self.transform.orbit(window.take(chosen), seed=options.seed, **who)
        each = torch.arange(len(moved))
        self.check_inputs = moved[each, each % moved.shape[1]]
        with self.reader.open(device=options.device, precision=options.precision) as forward:
            model = PredictingForward(forward, run.inspection.prediction)
            found, self.check_responses = examine(model, self.check_inputs)
        run.notes += refuse_unstable(found, options)
        run.inspection = run.inspection.unrepeated(found.unrepeated)
        if options.unstable == "refuse":
            for key, reason in found.layers.items():
                run.withdraw(key, reason, self.needs.layers)

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
        for key, reason in pilot.withdrawn.items():
            run.withdraw(key, reason, self.needs.layers)
        run.forwards += pilot.forwards  # a checkpoint has counted them too, and says so when it is read
        run.notes.append(f"a pilot forwarded {pilot.forwards} untransformed inputs once more")
        noted = (note for (_, s), final in self.pilot.items() for note in s.notes(final))
        run.notes += dict.fromkeys(noted)

    def _plan_memory(self, run: Run) -> None:
        read = [info for info in run.inspection.layers if info.status == OK]
        sizes = [int(np.prod(info.shape)) for info in read]
        rows = rows_per_forward(self.options.batch_size, max(sizes, default=1), self._device())
        self.room = max(1, rows // self.needs.width(self.forwarded))
        self.per_block = whole_fours(self.room)
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
            self.before += len(chosen)
            tick(self.before, self.source.length)

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
        return by_cell(cells, self.run.strata, self.room)

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
        self.reduction.begin(shared, rows=len(laid.rows))
        audit, left_out = self.audit, len(run.withdrawn)
        forward = self.forward if audit is None else audit.run
        output = forward(laid.rows, self.reduction.layer)
        run.forwards += len(laid.rows)
        if self.needs.output:
            self.reduction.output(run.inspection.prediction.of(output, len(laid.rows)).detach())
        self.reduction.end()
        if audit is not None and len(run.withdrawn) > left_out:
            audit.recheck(laid.rows)

    def _batch(self, window: Window, chosen: np.ndarray) -> Batch:
        """Return positions, keys and partners of a block; if pairs are needed, blocks hold whole pairs."""
        place = np.full(len(window) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        mates = place[window.partners[chosen]]
        return Batch(window.indices[chosen], window.keys[chosen], mates, self.options.seed)


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
