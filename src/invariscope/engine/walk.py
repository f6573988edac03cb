"""Forward every transformed input through the model once, reducing each layer where it is produced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from invariscope.block import Block
from invariscope.common.progress import ticking
from invariscope.common.samples import Inputs, shape_of
from invariscope.data.sources import refuse_second_walk
from invariscope.data.window import Fingerprint, Window
from invariscope.engine.budget import refuse_too_large
from invariscope.engine.checkpoint import OTHER_DATA, REMEDY, Position
from invariscope.engine.extras.audit import Audit
from invariscope.engine.extras.drawing import drawing_notes
from invariscope.engine.extras.floor import floor_notes, with_floor
from invariscope.engine.extras.orbit_audit import OrbitAudit
from invariscope.engine.extras.pilot_samples import add_others, pilot_source
from invariscope.engine.feature_motion import act_on_maps, acting_elements, as_it_is
from invariscope.engine.memory import HALVED, out_of_memory
from invariscope.engine.needs import ForwardRows, Needs
from invariscope.engine.plan import by_cell, paired_chunks, whole_fours
from invariscope.engine.prepare import Pilot, Walk, WalkPlan, begun, predicting, prepared
from invariscope.engine.reduction import BlockFrame, Reduction
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.engine.turns import Turns, turns_of
from invariscope.engine.validation import refuse_unreadable
from invariscope.readers.base import Forward
from invariscope.statistics.moments.references import FIRST
from invariscope.statistics.probes import Batch

Tick = Callable[[int, int | None], None]


def walk(
    task: Task,
    *,
    enough: Callable[[Run, int], bool] | None = None,
    turns: Turns | None = None,
    watch: Callable[[], None] | None = None,
    unfinished: bool = False,
) -> Run:
    """Walk the source once for all measures; stop early if `enough` returns True.

    Args:
        turns: finishes classes, if they may be walked one after the other.
        watch: called after every block; it may raise to end the walk.
        unfinished: whether the checkpoint is still needed after the walk.
    """
    options, source = task.options, task.source
    needs = with_floor(Needs.of(task.measures), task)
    with ticking(options.progress, f"measuring {options.label or task.reader.name}") as show:

        def tick(done: int, total: int | None) -> None:
            if watch is not None:
                watch()
            show(done, total)

        given = task.reader, source, task.transform, needs, options, source.total, enough, turns
        run = walked(Walk(*given, task.rereading), tick)
    run.notes += [*floor_notes(task), *drawing_notes(run)]
    if run.checkpoint is not None and not unfinished:
        run.checkpoint.remove()
    return run


def walked(walk: Walk, tick: Tick) -> Run:
    """Walk the source, calling `tick(samples done, total samples)` after each block.

    Raises:
        ValueError: fewer than two samples, no readable layer, or responses that are rejected.
    """
    options, windows, before = walk.options, walk.source.windows(), walk.source.before()
    first = next(windows, None) if before is None else before
    if first is None:
        raise ValueError("the data are empty: the iterable yielded no batch")
    run, inputs, responses = begun(walk, first)
    plan = prepared(walk, run, _piloted(walk, run), first)
    run.checkpoint = plan.checkpoint
    windows = chain([first], windows) if before is None else windows
    del first, before  # a window of a stream may be large
    with walk.reader.open(device=options.device, precision=options.precision, seed=options.seed) as forward:
        loop = _Loop(plan, run, forward, tick)
        if options.refuses_chance:
            model = predicting(walk, run, forward, inputs)
            loop.audit = Audit(model, inputs, responses, loop.reduction.withdraw)
        loop.refer()
        with nullcontext() if plan.checkpoint is None else plan.checkpoint.kept():
            run.fingerprint = loop.over(windows)
        loop.finish()
    run.contents.ordered = walk.source.walked()["order"] != "arrival"
    walk.rereading.add(run.contents)
    if run.samples < 2:
        raise ValueError(f"got {run.samples} sample; the variance across samples needs at least two")
    if not walk.needs.output:
        refuse_unreadable(run.inspection)
    return run


def _piloted(walk: Walk, run: Run) -> Pilot:
    """Walk the untransformed inputs first, if a statistic needs a pilot, and return the final values."""
    needs = walk.needs.pilot
    if needs is None:
        return {}
    source = pilot_source(walk, needs)
    refuse_second_walk(source, "thresholds and bins come from a pilot, which walks the data beforehand")
    total = source.length
    if total is None and any(statistic.sized for statistic in needs.layers + needs.output):
        total = sum(len(window) for window in source.windows())
    of_inputs = Walk(
        walk.reader, source, as_it_is(), needs, walk.options.quiet(), total, rereading=walk.rereading
    )
    pilot = walked(of_inputs, lambda done, total: None)
    add_others(walk, pilot, source)
    finals = {
        (key, s): s.finalize(state, pilot.strata_of(key, s).everything)
        for (key, s), state in pilot.states.items()
    }
    for key, reason in pilot.withdrawn.items():
        run.withdraw(key, reason, walk.needs.layers)
    run.pilot_data = pilot.fingerprint
    run.forwards += pilot.forwards  # a checkpoint includes them too, and overwrites this when it is read
    run.notes.append(f"a pilot pass forwarded {pilot.forwards} additional untransformed inputs")
    run.notes += dict.fromkeys(note for (_, s), final in finals.items() for note in s.notes(final))
    return finals


class _Loop:
    """Loop that forwards the windows block by block and updates the run."""

    def __init__(self, plan: WalkPlan, run: Run, forward: Forward, tick: Tick) -> None:
        self.plan, self.walk, self.run, self.forward, self.tick = plan, plan.walk, run, forward, tick
        self.reduction = Reduction(run, self.walk.needs, self.walk.options, plan.pilot)
        self.acting = acting_elements(self.walk.transform, seed=self.walk.options.seed)
        self.audit: Audit | None = None
        self.orbits = OrbitAudit(self.walk.forwarded, self.walk.options.seed, run)
        self.pace = plan.pace()
        self.stops = self._stops()
        self.done = 0  # samples of all forwarded blocks, including those of an interrupted run

    def refer(self) -> None:
        """Forward the first samples of each stratum, which other shards count, for their references."""
        walk = self.walk
        few = walk.source.first_of_strata(by_class=walk.options.by_class, samples=FIRST)
        if few is None or self.plan.resumed is not None:
            return
        cells = self.run.strata.cells_of(
            few.groups, few.labels
        )  # so that all shards number the classes alike
        self._enlarge()
        self._refer_to(few, self._blocks(few, cells), cells)
        self.run.restart()

    def _refer_to(self, few: Window, blocks: Iterable[np.ndarray], cells: np.ndarray) -> None:
        """Forward samples of a window for references alone."""
        run, walk = self.run, self.walk
        if not (needs := walk.needs.of_first_samples):
            return
        counting, self.reduction = self.reduction, Reduction(run, needs, walk.options, self.plan.pilot)
        self.reduction.masks = counting.masks
        for chosen in blocks:
            self.reduction.count_in(cells[chosen])
            self._block(few, chosen, partial(Block, membership=run.strata.membership(cells[chosen])))
            run.samples += len(chosen)
        self.reduction = counting

    def _refer_overall(self, window: Window) -> None:
        """Forward the first samples of all for their reference, as their classes may take different turns."""
        few = np.arange(min(FIRST, len(window)))
        of_one_class = torch.zeros(len(few), dtype=torch.int64)
        self._refer_to(window, [few], self.run.strata.cells_of(window.groups[few], of_one_class))
        self.run.restart(classes=False)

    def over(self, windows: Iterable[Window]) -> str:
        """Walk the windows until there are enough samples; return the fingerprint of the walked samples."""
        digest, enough = Fingerprint(), self.walk.enough
        for number, window in enumerate(windows):
            digest.add(window)
            self.run.contents.add(window)
            self._window(number, window, digest.hexdigest())
            if enough is not None and enough(self.run, self.done):
                break
        if self.done != self.run.samples:
            raise ValueError(
                f"{OTHER_DATA}: these end after {self.done:,} samples, but it includes "
                f"{self.run.samples:,}. {REMEDY}."
            )
        return digest.hexdigest()

    def finish(self) -> None:
        """Check that inputs and responses have not changed, and replace sums of classes walked in turn."""
        try:
            self.orbits.finish()
            if self.audit is not None:
                self.audit.finish()
        except ValueError:  # sums of an unstable model must not be resumed
            if self.plan.checkpoint is not None:
                self.plan.checkpoint.remove()
            raise
        if self.walk.turns is not None and self.run.turned is not None:
            self.walk.turns.end(self.run)

    def _window(self, number: int, window: Window, digest: str) -> None:
        run, plan = self.run, self.plan
        places = self._places(window) if self.walk.needs.positions else None
        for block, (chosen, cells) in enumerate(self._turns(window)):
            if not self._done_before(number, block, digest):
                frame = partial(Block, membership=run.strata.membership(cells))
                self.reduction.count_in(cells)
                if places is not None:
                    frame = partial(frame, positions=places[0][chosen], sizes=places[1][chosen])
                position = Position(number, block + 1, digest, plan.room, plan.ahead)
                with nullcontext() if plan.checkpoint is None else plan.checkpoint.block(run, position):
                    self._block(window, chosen, frame)
                    run.samples += len(chosen)
            self.done += len(chosen)
            self.tick(self.done, self.walk.source.length)

    def _meet(self, window: Window, cells: np.ndarray) -> None:
        """Record clusters, and how often neighbours in a stream share a label."""
        run = self.run
        if window.clusters is not None:
            pairs = zip(cells.tolist(), window.clusters.tolist(), strict=True)
            run.clusters = (run.clusters or set()) | set(pairs)
        if self.walk.source.walked()["order"] == "arrival" and window.labels is not None:
            run.arrival.add(window.labels)

    def _places(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's position in its stratum, in the order of the data, and the stratum's size."""
        if len(window) != self.walk.source.length:
            raise ValueError(
                "this preset follows the order of the samples in the data (within each class, if "
                "by_class=True), so all of them must be in memory: pass arrays, (inputs, labels)"
            )
        return self.run.strata.positions_of(window.labels, window.indices)

    def _turns(self, window: Window) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the samples of each block and their cells; finish classes when their samples are done."""
        run, turns = self.run, self.walk.turns
        if turns is None or run.turned is None:
            cells = run.strata.cells_of(window.groups, window.labels)
            self._enlarge()
            self._meet(window, cells)
            yield from ((chosen, cells[chosen]) for chosen in self._blocks(window, cells))
            return
        self._refer_overall(window)
        for classes, members in turns_of(window, run.turned):
            run.strata.number(classes)
            labels = None if window.labels is None else window.labels[torch.from_numpy(members)]
            cells = run.strata.cells_of(window.groups[members], labels)
            for chosen in self._blocks(window, cells):
                yield members[chosen], cells[chosen]
            turns.finish(run)

    def _blocks(self, window: Window, cells: np.ndarray) -> Sequence[np.ndarray]:
        """Return the samples to forward together: those of one bucket, or whole pairs if pairs are needed."""
        if self.walk.needs.paired:
            return paired_chunks(window.pairs, whole_fours(self.plan.room))
        if window.clusters is not None:
            return paired_chunks(window.clusters, whole_fours(self.plan.room))
        return by_cell(cells, self.run.strata, self.plan.room)

    def _done_before(self, number: int, block: int, digest: str) -> bool:
        """Return whether the checkpoint already includes this block."""
        if self.plan.resumed is None:
            return False
        there = self.plan.resumed
        if number == there.windows and digest != there.data:
            raise ValueError(
                f"{OTHER_DATA}: the values, labels, groups or number of its first samples differ. {REMEDY}."
            )
        return (number, block) < (there.windows, there.blocks)

    def _enlarge(self) -> None:
        """Enlarge the states for new classes of a stream."""
        needed = sum(size.of(self.run.strata_of(*key)) for key, size in self.plan.sizes.items())
        refuse_too_large(needed, self.plan.budget, "the classes found so far")
        for key, state in self.run.states.items():
            if len(state.counts) < (buckets := self.run.strata_of(*key).buckets):
                key[1].enlarge(state, buckets)

    def _block(self, window: Window, chosen: np.ndarray, frame: BlockFrame) -> None:
        run, needs, audit = self.run, self.walk.needs, self.audit
        inputs, batch = window.take(chosen), self._batch(window, chosen)
        laid = self.orbits.lay_out(needs.probes, inputs, batch=batch)
        left_out = len(run.withdrawn)
        self._reduce(self._frame(window, chosen, frame, inputs, batch, laid), laid.rows)
        run.forwards += len(laid.rows)
        if audit is not None and len(run.withdrawn) > left_out:
            audit.recheck(laid.rows)

    def _reduce(self, frame: BlockFrame, rows: Inputs) -> None:
        """Forward and reduce a block, in smaller parts if the memory does not suffice.

        A forward that runs out of memory can be repeated only if nothing of it has been reduced, that is, if
        it is one of several of its block, or the first of the run.
        """
        parts = self.pace.parts(len(rows))
        try:
            with self.pace.timed(len(rows), parts[0].stop):
                self._forward(frame, rows, parts)
        except Exception as error:
            first = not self.run.samples
            if not (out_of_memory(error) and (first or len(parts) > 1) and self.pace.halve(parts[0].stop)):
                raise
            if first:
                self.run.forget()
            self.run.note_once(f"memory for {parts[0].stop} inputs per forward was short: {HALVED}")
            self._reduce(frame, rows)

    def _forward(self, frame: BlockFrame, rows: Inputs, parts: list[slice]) -> None:
        """Forward the parts of a block, and reduce the responses."""
        needs, prediction, outputs = self.walk.needs, self.run.inspection.prediction, []
        self.reduction.begin(frame, rows=len(rows), forwards=len(parts))
        for part in parts:
            self.reduction.forward(part)
            output = self._run(rows, part)
            if needs.output:
                outputs.append(prediction.of(output, part.stop - part.start).detach())
            self.reduction.forwarded()
        self.reduction.end()
        if needs.output:
            self.reduction.output(torch.cat(outputs) if len(outputs) > 1 else outputs[0])

    def _run(self, rows: Inputs, part: slice) -> Any:
        sink = self.reduction.until_enough if self.stops else self.reduction.layer
        if self.audit is None:
            return self.forward(rows[part], sink)
        return self.audit.run(rows[part], sink, whole=self.reduction.layer, block=rows)

    def _stops(self) -> bool:
        """Return whether forwards end after the last layer: if only some are measured, without the output."""
        walk = self.walk
        return walk.reader.stops and walk.options.layers is not None and not walk.needs.output

    def _frame(
        self,
        window: Window,
        chosen: np.ndarray,
        frame: BlockFrame,
        inputs: Inputs,
        batch: Batch,
        laid: ForwardRows,
    ) -> BlockFrame:
        """Return the arguments that the blocks of all layers share."""
        walk, needs = self.walk, self.walk.needs
        labels = None if window.labels is None else window.labels[torch.from_numpy(chosen)]
        return partial(
            frame,
            samples=len(chosen),
            elements=len(walk.forwarded),
            sample_step=laid.sample_step,
            element_step=laid.element_step,
            probes=laid.probes,
            indices=batch.indices,
            keys=batch.keys,
            ranks=window.first + chosen,
            partners=batch.partners if needs.paired else None,
            clusters=None if window.clusters is None else window.clusters[chosen],
            labels=walk.labelling.numbers(labels),
            names=walk.labelling.names,
            unaligned=walk.labelling.unaligned,
            total=walk.total,
            unit_bytes=self.plan.unit_bytes,
            act=partial(act_on_maps, walk.transform, shape_of(inputs)[1:], walk.options.seed),
            acting=self.acting,
            per_sample=walk.transform.per_sample,
            input_shape=shape_of(inputs),
            distances=laid.distances(inputs) if needs.distances else None,
        )

    def _batch(self, window: Window, chosen: np.ndarray) -> Batch:
        """Return the positions, keys and partners of a block's samples."""
        place = np.full(len(window) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        mates = place[window.partners[chosen]]
        return Batch(window.indices[chosen], window.keys[chosen], mates, self.walk.options.seed)
