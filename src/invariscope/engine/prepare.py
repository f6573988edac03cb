"""Prepare a walk before its first forward: layers, notes, sizes, and where to resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.common.samples import Inputs, is_structured, shape_of
from invariscope.data.contents import Rereading
from invariscope.data.labels import Labelling
from invariscope.data.sources import Source, refuse_second_walk
from invariscope.data.window import Fingerprint, Window
from invariscope.engine.arrival import UNKNOWN
from invariscope.engine.budget import (
    Size,
    StateKey,
    activation_bytes,
    choose_buckets,
    classes_at_once,
    notes_on,
    settle,
)
from invariscope.engine.checkpoint import OTHER_DATA, REMEDY, Checkpoint, Position, refuse_unseen
from invariscope.engine.extras.grid_notes import grids_for
from invariscope.engine.extras.padding import padding_notes
from invariscope.engine.feature_motion import as_it_is
from invariscope.engine.identity import identities_of_walk, unseen
from invariscope.engine.needs import Needs, uncropped_or_centre
from invariscope.engine.options import Options
from invariscope.engine.pace import Pace
from invariscope.engine.plan import (
    SMALL_LAYER,
    Strata,
    available_bytes,
    rows_per_forward,
    whole_fours,
)
from invariscope.engine.state import Run, Turned
from invariscope.engine.turns import Turns
from invariscope.engine.validation import (
    inspected,
    refuse_unreadable,
    refuse_unstable,
    refuse_what_needs_tensors,
)
from invariscope.intervals import SEQUENTIAL_REACH
from invariscope.readers.base import OK, Forward, LayerInfo, LayerKey, Reader
from invariscope.readers.batch_dependence import PredictingForward, Responses, distinct_rows, examine
from invariscope.readers.feeding import refuse_other_fields
from invariscope.statistics.base import Statistic
from invariscope.transforms.base import Transform
from invariscope.unit_draw import UnitDraw

AHEAD = "thresholds, bins or means were computed"
_CHECKED = 16  # samples spread over the first window

Pilot = Mapping[tuple[LayerKey, Statistic], Any]


@dataclass(frozen=True, eq=False)
class Walk:
    """One pass of a source through a model, for any number of measures.

    Args:
        total: number of samples, if known.
        turns: finishes classes, if they may be walked one after the other.
        enough: called with (run, samples walked) after each window; returns whether to stop.
    """

    reader: Reader
    source: Source
    transform: Transform
    needs: Needs
    options: Options
    total: int | None = None
    enough: Callable[[Run, int], bool] | None = None
    turns: Turns | None = None
    rereading: Rereading = field(default_factory=Rereading)

    @cached_property
    def forwarded(self) -> Transform:
        """The transform whose elements are forwarded: only the identity if no measure reads the others."""
        return self.transform if self.needs.orbits else as_it_is(self.transform)

    @cached_property
    def labelling(self) -> Labelling:
        """Meaning of the labels."""
        return self.source.labelling.named(self.options.classes)


@dataclass(frozen=True, eq=False)
class WalkPlan:
    """A walk and everything decided before its first forward.

    Args:
        walk: the walk, with settled probes.
        pilot: final values of the statistics' pilots.
        room: number of samples that fit into a block.
        sizes: memory of each state.
        budget: bytes that the sums may take.
        unit_bytes: bytes that a state may take per unit.
        checkpoint: file for the sums, if requested.
        resumed: position to resume from; None to start from the beginning.
        largest: number of units of the largest layer.
        ahead: digest of the samples that were read before the walk.
    """

    walk: Walk
    pilot: Pilot
    room: int
    sizes: dict[StateKey, Size]
    budget: int
    unit_bytes: float
    checkpoint: Checkpoint | None
    resumed: Position | None
    largest: int
    ahead: str

    def pace(self) -> Pace:
        """Return how blocks are divided among forwards.

        Smaller forwards are tried only for large layers, of which few inputs fill the cache, and only if the
        parts of orbits need little memory.
        """
        options = self.walk.options
        if isinstance(options.batch_size, int):
            return Pace(most=options.batch_size)
        whole = any(not s.drawable or s.needs_maps for s in self.walk.needs.layers)
        return Pace(tries=not whole and self.largest > SMALL_LAYER)


def begun(walk: Walk, first: Window) -> tuple[Run, Inputs, Responses]:
    """Begin a run with a trial forward of the first samples.

    Returns:
        The run, the inputs of the initial check, and the responses to them, for later checks.
    Raises:
        ValueError: the model, the labels or the transform do not fit the data.
    """
    few, options, needs = first.part(0, min(3, len(first))), walk.options, walk.needs
    x = few.inputs
    walk.labelling.check(first.labels, by_class=options.by_class, compared=needs.labels)
    if is_structured(x):
        few = first.part(0, min(_CHECKED, len(first)))
        x = few.inputs
        if getattr(walk.reader, "preprocess", None) is None and isinstance(x[0], Mapping):
            refuse_other_fields(x)
        refuse_what_needs_tensors(x, needs, options)
    else:
        walk.transform.check(x)
    moved = walk.transform.orbit(x, indices=few.indices, keys=few.keys, seed=options.seed)
    samples, of_output = walk.source.total or len(first), bool(needs.output)
    inspection = inspected(walk.reader, moved[:, 0], options, samples=samples, of_output=of_output)
    run = Run(
        Strata(options.by_class),
        inspection,
        input_shape=shape_of(x),
        reach=1.0 if walk.enough is None else SEQUENTIAL_REACH,
        shapes={(info.layer, info.call): info.shape for info in inspection.layers},
        draws=_draws(inspection.layers, options),
        grids=grids_for(walk.reader, x, inspection, needs.layers, options),
        labelled=first.labels is not None,
        labelling=walk.labelling,
        class_maps=options.class_maps,
    )
    run.notes += [walk.source.note] if walk.source.note else []
    run.notes += [inspection.prediction.note] if of_output and inspection.prediction.note else []
    checked = _check_dependence(walk, first, run)
    run.notes += padding_notes(walk.transform, first.part(0, min(64, len(first))).inputs, seed=options.seed)
    if isinstance(moved, Tensor) and moved.ndim == 5 and not moved.is_complex():  # images, for reports
        run.orbit, run.orbit_dtype = moved[0].detach().float().cpu().numpy().copy(), moved.dtype
    if needs.paired and first.labels is None and walk.source.walked()["order"] == "arrival":
        run.notes.append(UNKNOWN)
    return run, *checked


def _draws(layers: Sequence[LayerInfo], options: Options) -> dict[LayerKey, UnitDraw]:
    """Return the draws of the units of large layers."""
    found = {}
    for info in layers:
        if info.status == OK and (draw := UnitDraw.of(info.shape, options.units, seed=options.seed)):
            found[info.layer, info.call] = draw
    return found


def _check_dependence(walk: Walk, first: Window, run: Run) -> tuple[Inputs, Responses]:
    """Check whether responses depend on chance, or on the other inputs of the batch."""
    options = walk.options
    spread = np.linspace(0, len(first) - 1, min(len(first), _CHECKED)).round().astype(np.int64)
    chosen = spread[distinct_rows(first.take(spread))]
    who = {"indices": first.indices[chosen], "keys": first.keys[chosen]}
    moved = walk.transform.orbit(first.take(chosen), seed=options.seed, **who)
    each = np.arange(len(moved))
    inputs = moved[each, each % moved.shape[1]]
    with walk.reader.open(device=options.device, precision=options.precision) as forward:
        found, responses = examine(predicting(walk, run, forward, inputs), inputs)
    run.notes += refuse_unstable(found, options)
    run.inspection = run.inspection.unrepeated(found.unrepeated)
    if options.unstable == "refuse":
        for key, reason in found.layers.items():
            run.withdraw(key, reason, walk.needs.layers)
    return inputs, responses


def predicting(walk: Walk, run: Run, forward: Forward, inputs: Inputs) -> PredictingForward:
    """Return the forward for checks of dependence; outputs may be padded if no measure reads them."""
    padded = is_structured(inputs) and not walk.needs.output
    return PredictingForward(forward, run.inspection.prediction, padded)


def prepared(walk: Walk, run: Run, pilot: Pilot, first: Window) -> WalkPlan:
    """Choose the sizes of blocks and sums, settle probes, and read the checkpoint into the run.

    Args:
        first: the first samples.
    """
    options, needs = walk.options, walk.needs
    read = [info for info in run.inspection.layers if info.status == OK]
    sizes = [int(np.prod(info.shape)) for info in read]
    device = options.device or walk.reader.device
    rows = rows_per_forward(options.batch_size, max(sizes, default=1), device)
    budget, forward = available_bytes(options.memory_gb), activation_bytes(sizes, run.input_shape)
    if options.batch_size == "auto":
        rows = max(1, min(rows, budget // (4 * forward)))
    room = max(1, rows // needs.width(walk.forwarded))
    states = _sizes(read, walk, run, pilot)
    spent = room * needs.width(walk.forwarded) * forward
    cells, ordered = _known_cells(walk.source, run.strata), needs.positions
    settle(run.strata, intervals=options.intervals, cells=cells, ordered=ordered)
    if _may_turn(walk):
        few, why = classes_at_once(run.strata, states, left=budget - spent)
        if why:
            _take_turns(run, few, why)
            states = {key: size.twice for key, size in states.items()}
    run.coarser = choose_buckets(run.strata, states, budget=budget, spent=spent, ordered=ordered)
    run.notes += notes_on(run.strata, run.coarser, len(read))
    checkpoint = _checkpoint(walk, first) if options.checkpoint else None
    resumed = None if checkpoint is None else checkpoint.read(run, needs.layers + needs.output)
    if resumed is not None and resumed.room is not None:
        room = resumed.room  # less memory may be free now, but the blocks must be the same
    settled, means_of = _settled(walk, whole_fours(room))
    ahead = run.pilot_data + means_of
    if resumed is not None and resumed.ahead != ahead:
        raise ValueError(f"{OTHER_DATA}: not all samples are the same as those from which {AHEAD}. {REMEDY}.")
    if not needs.output:
        refuse_unreadable(run.inspection)
    return WalkPlan(
        replace(walk, needs=settled),
        pilot,
        room,
        states,
        budget,
        _unit_bytes(read, states, budget, run),
        checkpoint,
        resumed,
        max(sizes, default=1),
        ahead,
    )


def _may_turn(walk: Walk) -> bool:
    """Return whether classes may be walked in turn, which must not change any number."""
    options, needs, source = walk.options, walk.needs, walk.source
    known = options.by_class and source.labels is not None and walk.turns is not None
    whole = walk.enough is None and options.checkpoint is None and options.clusters is None
    return known and whole and not needs.paired and not needs.positions


def _take_turns(run: Run, few: int, why: str) -> None:
    """Walk the classes of the run in turn, a few at a time."""
    run.turned = Turned(run.labelling.ranked(run.strata.classes), few)
    run.strata.number({number: number for number in range(few)})
    run.notes.append(f"classes were walked in turn, {few} at a time, because {why}")


def _settled(walk: Walk, size: int) -> tuple[Needs, str]:
    """Return the needs with their probes settled on all inputs, without forwarding any, and their digest."""
    needs, transform, seed = walk.needs, walk.forwarded, walk.options.seed
    if not any(probe.unsettled for probe in needs.probes):
        return needs, ""
    source, digest = walk.source.complete, Fingerprint()
    refuse_second_walk(source, "a mean over all inputs must be known before the first forward")

    def orbits() -> Iterator[tuple[Tensor, Tensor]]:
        for window in source.windows():
            digest.add(window)
            for low in range(0, len(window), size):
                part = window.part(low, min(low + size, len(window)))
                x = part.inputs
                orbit = transform.orbit(x, indices=part.indices, keys=part.keys, seed=seed)
                yield uncropped_or_centre(transform, x, orbit), orbit

    probes = tuple(p.settled(orbits()) if p.unsettled else p for p in needs.probes)
    return replace(needs, probes=probes), digest.hexdigest()


def _sizes(read: Sequence[LayerInfo], walk: Walk, run: Run, pilot: Pilot) -> dict[StateKey, Size]:
    """Return the memory of each state, given the pilot."""
    return {
        ((info.layer, info.call), statistic): _size(statistic, info, walk, run, pilot)
        for statistic in walk.needs.layers
        for info in read
    }


def _unit_bytes(read: Sequence[LayerInfo], sizes: Mapping[StateKey, Size], budget: int, run: Run) -> float:
    """Return the bytes that a state may take per unit, if it can adapt to them."""
    total, drawn = Size.total(sizes.values()), 0
    for info in read:
        draw = run.draws.get((info.layer, info.call))
        drawn += int(np.prod(info.shape)) if draw is None else draw.count
    return (budget - total.bucket - total.stratum) / max(drawn * len(sizes) / max(len(read), 1), 1)


def _size(statistic: Statistic, info: LayerInfo, walk: Walk, run: Run, pilot: Pilot) -> Size:
    """Return the memory of a layer's state, given the pilot."""
    draw = run.draw_of((info.layer, info.call), statistic)
    units = statistic.units_of(info.shape) if draw is None else draw.count
    elements = len(walk.forwarded)
    stratum = statistic.stratum_bytes(units, elements)
    if statistic.pilot is None:
        return Size(statistic.bucket_bytes(units, elements), stratum)
    known = pilot.get(((info.layer, info.call), statistic.pilot))
    return Size(0 if known is None else statistic.piloted_bytes(units, elements, known), stratum)


def _known_cells(source: Source, strata: Strata) -> np.ndarray | None:
    """Return the cells of all samples; None if they are not known before the walk."""
    if source.order is None or (strata.by_class and source.labels is None):
        return None
    return strata.cells_of(source.order.groups, source.labels)


def _checkpoint(walk: Walk, first: Window) -> Checkpoint:
    """Return the checkpoint, with the identities that a resumed measurement must share."""
    options = walk.options
    model = walk.reader.identity()
    identities = identities_of_walk(model, walk.source, walk.transform, walk.needs, options, first)
    refuse_unseen(unseen(identities))
    return Checkpoint(Path(str(options.checkpoint)), identities, options.checkpoint_every)
