"""Restore the runs of shards, and join them in the order of the walk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from invariscope.data.contents import Contents
from invariscope.data.labels import Labelling
from invariscope.engine.packing import unpack
from invariscope.engine.plan import Strata
from invariscope.engine.state import Run
from invariscope.measures.base import Measure
from invariscope.readers.base import Inspection, LayerInfo, LayerKey
from invariscope.results.shard import Shard
from invariscope.statistics.base import Statistic
from invariscope.statistics.round_trip import OnRoundTrip
from invariscope.unit_draw import UnitDraw

_OF_PILOT = ("facts.", "bins.")  # names of arrays that a pilot determined
_MIXED = "it repeats {layer!r} for some inputs and not for others"


def statistics_of(measures: Iterable[Measure]) -> tuple[Statistic, ...]:
    """Return the distinct statistics that a run of these measures may hold."""
    own = dict.fromkeys(statistic for measure in measures for statistic in measure.statistics())
    return (*own, *map(OnRoundTrip, own))


def run_of(shard: Shard, statistics: tuple[Statistic, ...]) -> Run:
    """Return the run that a shard was made from."""
    document = shard.document
    strata = Strata(document["by_class"], why=document["why"])
    labelling = document["labelling"]
    run = Run(
        strata,
        _inspection(document["inspection"]),
        input_shape=tuple(document["input_shape"]),
        fingerprint=document["fingerprint"],
        orbit=shard.arrays.get("orbit"),
        notes=list(document["notes"]),
        shapes={(layer, call): tuple(shape) for layer, call, shape in document["shapes"]},
        draws={
            (layer, call): UnitDraw(tuple(shape), count, seed)
            for layer, call, shape, count, seed in document["draws"]
        },
        labelled=document["labelled"],
        labelling=Labelling(
            tuple(labelling["order"]), labelling["given"], dict(labelling["words"]), dict(labelling["met"])
        ),
    )
    unpack(run, document, shard.arrays, statistics)
    run.withdrawn = {(layer, call): reason for layer, call, reason in document["withdrawn"]}
    by_name = {repr(statistic): statistic for statistic in statistics}
    for layer, call, name, reason in document["inapplicable"]:
        run.inapplicable[(layer, call), by_name[name]] = reason
    if "clusters" in shard.arrays:
        run.clusters = {(bucket, cluster) for bucket, cluster in shard.arrays["clusters"].tolist()}
    parts = [shard.arrays.get(f"contents/{name}") for name in ("keys", "digests")]
    if parts[0] is not None and parts[1] is not None:
        run.contents = Contents(run.clusters is not None, True, [parts[0]], [parts[1]])
    return run


def dead_of(shard: Shard, statistics: tuple[Statistic, ...]) -> dict[tuple[LayerKey, Statistic], np.ndarray]:
    """Return the units that are dead at full precision."""
    by_name = {repr(statistic): statistic for statistic in statistics}
    return {
        ((layer, call), by_name[name]): shard.arrays[f"dead/{number}"]
        for number, (layer, call, name) in enumerate(shard.document["dead"])
        if name in by_name
    }


def _inspection(parts: Mapping[str, Any]) -> Inspection:
    layers = (
        LayerInfo(**{**info, "shape": tuple(info["shape"]), "alias_of": _key(info["alias_of"])})
        for info in parts["layers"]
    )
    return Inspection(tuple(layers), tuple(parts["unused"]), tuple(parts["notes"]))


def _key(parts: Any) -> LayerKey | None:
    return None if parts is None else (parts[0], parts[1])


def joined(first: Run, second: Run, statistics: tuple[Statistic, ...]) -> Run:
    """Add the second run, whose samples follow those of the first, to the first, and return it."""
    _withdraw_both(first, second, statistics)
    for place in first.inapplicable | second.inapplicable:
        first.states.pop(place, None)
        second.states.pop(place, None)
    first.inapplicable |= second.inapplicable
    first.aliases |= second.aliases
    for place, state in second.states.items():
        if (own := first.states.get(place)) is None:
            first.states[place] = state
            continue
        _refuse_other_pilot(*place, own, state)
        first.states[place] = place[1].merge(own, state)
    for mine, theirs in (
        (first.skipped_samples, second.skipped_samples),
        (first.uneven, second.uneven),
        (first.unpaired, second.unpaired),
    ):
        for key, count in theirs.items():
            mine[key] = mine.get(key, 0) + count
    first.samples += second.samples
    first.missing += second.missing
    first.contents.join(second.contents)
    first.moved |= second.moved
    known = first.unmoved is not None and second.unmoved is not None
    first.unmoved = (first.unmoved or set()) & (second.unmoved or set()) if known else None
    first.forwards += second.forwards
    for note in second.notes:
        first.note_once(note)
    first.labelling.words.update(second.labelling.words)
    first.labelling.met.update(second.labelling.met)
    if second.clusters is not None:
        first.clusters = (first.clusters or set()) | second.clusters
    return first


def _refuse_other_pilot(key: LayerKey, statistic: Statistic, first: Any, second: Any) -> None:
    """Raise ValueError if two shards have different thresholds or bins, which depend on the memory."""
    if statistic.pilot is None:
        return
    ours, theirs = statistic.pack(first), statistic.pack(second)
    for name in (name for name in ours if name.startswith(_OF_PILOT)):
        mine, other = ours[name], theirs[name]
        size = np.abs(mine[np.isfinite(mine)]).max(initial=0) if mine.dtype.kind == "f" else 0
        if mine.shape != other.shape or not np.allclose(mine, other, 1e-3, 1e-3 * size, equal_nan=True):
            raise ValueError(
                f"shards have different thresholds or bins of layer {key[0]!r}, which come from samples that "
                "fit into memory: measure all shards with the same memory_gb="
            )


def _withdraw_both(first: Run, second: Run, statistics: tuple[Statistic, ...]) -> None:
    """Exclude layers from both runs that one of them excluded, or in which only one repeats another layer."""
    reasons = second.withdrawn | first.withdrawn
    for one, other in ((first, second), (second, first)):
        read = {key for key, _ in other.states}
        for key, original in one.aliases.items():
            if key in read:
                reasons.setdefault(key, _MIXED.format(layer=original[0]))
    for run in (first, second):
        for key, reason in reasons.items():
            run.withdraw(key, reason, statistics)
