"""The states and counts of a run as plain data and arrays, for checkpoints and shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.statistics.base import Statistic

_COUNTS = (("skipped", "skipped_samples"), ("uneven", "uneven"), ("unpaired", "unpaired"))


def packed(run: Run) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return a run's counts as plain data, and its states as arrays."""
    arrays, names = {}, []
    for number, ((key, statistic), state) in enumerate(run.states.items()):
        names.append([*key, repr(statistic)])
        arrays |= {f"{number}/{name}": np.ascontiguousarray(a) for name, a in statistic.pack(state).items()}
    document = {
        "states": names,
        "aliases": [[*key, *source] for key, source in run.aliases.items()],
        **{name: [[*key, count] for key, count in getattr(run, own).items()] for name, own in _COUNTS},
        "withdrawn": [[*key, reason] for key, reason in run.withdrawn.items()],
        "classes": [[value, number] for value, number in run.strata.classes.items()],
        "groups": run.strata.groups,
        "nested": run.strata.nested,
        "coarser": [
            [*key, repr(statistic), strata.layout, strata.why]
            for (key, statistic), strata in run.coarser.items()
        ],
        "moved": run.moved,
        "unmoved": None if run.unmoved is None else sorted(run.unmoved),
        "missing": run.missing,
        "samples": run.samples,
        "forwards": run.forwards,
    }
    return document, arrays


def unpack(
    run: Run,
    document: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    statistics: Iterable[Statistic],
) -> None:
    """Restore into a run what `packed` returned.

    Args:
        statistics: the statistics of the run's states.
    Raises:
        KeyError: a state of another statistic.
    """
    by_name = {repr(statistic): statistic for statistic in statistics}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        number, _, own = name.partition("/")
        parts.setdefault(number, {})[own] = array
    for number, (layer, call, name) in enumerate(document["states"]):
        run.states[(layer, call), by_name[name]] = by_name[name].unpack(parts[str(number)])
    run.aliases = {(a, b): (c, d) for a, b, c, d in document["aliases"]}
    for name, own in _COUNTS:
        setattr(run, own, {(layer, call): count for layer, call, count in document.get(name, [])})
    for layer, call, reason in document["withdrawn"]:
        run.withdraw((layer, call), reason, by_name.values())
    run.strata.classes = dict(document["classes"])
    run.strata.groups, run.strata.nested = document["groups"], document["nested"]
    run.coarser = {
        ((layer, call), by_name[name]): getattr(run.strata, layout)(why)
        for layer, call, name, layout, why in document["coarser"]
    }
    run.samples, run.forwards = document["samples"], document["forwards"]
    run.moved, run.missing = document.get("moved", True), document.get("missing", 0)
    unmoved = document.get("unmoved")
    run.unmoved = None if unmoved is None else set(unmoved)
