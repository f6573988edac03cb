"""Merging and serialisation of orbit states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from invariscope.statistics.moments.orbit_state import OrbitState, Sums, Waiting
from invariscope.statistics.moments.references import References
from invariscope.statistics.moments.usual_counts import merged_usual

_REFERENCES = ("pivot", "usual", "settled")


def packed(state: OrbitState) -> dict[str, np.ndarray]:
    """Return a state as named arrays."""
    state.take_back()
    facts = {"shape": state.shape, "facts": (state.double, state.channels_last)}
    arrays = {name: np.array(value, np.int64) for name, value in facts.items()}
    arrays |= {f"sums.{name}": array for name, array in state.sums.on_host().arrays().items()}
    used = max(int(state.strata.max()), 0) + 1
    for name in _REFERENCES:
        part = np.array(getattr(state.references.on_host(), name)[:used])
        part[~state.references.settled[:used]] = 0
        arrays[f"references.{name}"] = part
    for stratum, few in state.waiting.items():
        own: dict[str, Any] = {"orbits": few.orbits.cpu().numpy(), "buckets": few.buckets}
        own |= {} if few.clusters is None else {"clusters": few.clusters}
        arrays |= {f"waiting.{stratum}.{name}": array for name, array in own.items()}
    return arrays | {name: getattr(state, name) for name in ("counts", "clusters", "strata")}


def unpacked(arrays: dict[str, np.ndarray]) -> OrbitState:
    """Restore the state from the arrays that `packed` returned."""
    double, channels_last = arrays["facts"].tolist()
    return OrbitState(
        shape=tuple(arrays["shape"].tolist()),
        double=bool(double),
        counts=arrays["counts"],
        clusters=arrays["clusters"],
        strata=arrays["strata"],
        sums=Sums(**{name[5:]: array for name, array in arrays.items() if name.startswith("sums.")}),
        references=References(*(arrays[f"references.{name}"] for name in _REFERENCES)),
        channels_last=bool(channels_last),
        waiting={
            int(name.split(".")[1]): Waiting(
                torch.from_numpy(orbits),
                arrays[name.replace("orbits", "buckets")],
                arrays.get(name.replace("orbits", "clusters")),
            )
            for name, orbits in arrays.items()
            if name.startswith("waiting.") and name.endswith(".orbits")
        },
    )


def merged(first: OrbitState, second: OrbitState) -> tuple[OrbitState, dict[int, Waiting]]:
    """Return the sums of both relative to the first one's references, and the waiting samples of both."""
    first.take_back()
    second.take_back()
    references, other = first.references.on_host(), second.references.on_host()
    strata = max(len(references.settled), len(other.settled))
    references = References(*(np.array(part) for part in vars(references).values()))
    references.make_room(strata)
    both = OrbitState(
        shape=first.shape,
        double=first.double,
        counts=first.counts + second.counts,
        clusters=first.clusters + second.clusters,
        strata=np.maximum(first.strata, second.strata),
        sums=first.sums.copy(),
        references=references,
        channels_last=first.channels_last,
    )
    for stratum in np.flatnonzero(other.settled).tolist():
        _add_stratum(both, first, second, stratum)
    held = {s: first.waiting.get(s) for s in sorted({*first.waiting, *second.waiting})}
    waiting = {}
    for stratum, mine in held.items():
        theirs = second.waiting.get(stratum)
        pair = [few for few in (mine, theirs) if few is not None]
        waiting[stratum] = pair[0] if len(pair) == 1 else pair[0].and_then(pair[1])
    return both, waiting


def _add_stratum(both: OrbitState, first: OrbitState, second: OrbitState, stratum: int) -> None:
    """Add the second state's sums of one stratum."""
    other = second.references.on_host()
    buckets = np.flatnonzero(second.strata == stratum)
    if not both.references.settled[stratum]:
        both.references.pivot[stratum] = other.pivot[stratum]
        both.references.usual[stratum] = other.usual[stratum]
        both.references.settled[stratum] = True
    theirs = second.sums.on_host().arrays()
    move = other.pivot[stratum].astype(np.float64) - both.references.pivot[stratum]  # h' = h + move
    for bucket in buckets.tolist():
        count, columns = int(second.counts[bucket]), theirs["columns"][bucket]
        grown = move * (2 * columns + count * move)
        for name, part in both.sums.arrays().items():
            if name != "unusual":
                part[bucket] += theirs[name][bucket]
        both.sums.columns[bucket] += count * move
        both.sums.total[bucket] += grown.sum(axis=0)
        if both.sums.squares is not None:
            both.sums.squares[bucket] += grown
    _add_unusual(both, first, second, stratum, buckets)


def _add_unusual(
    both: OrbitState, first: OrbitState, second: OrbitState, stratum: int, theirs: np.ndarray
) -> None:
    """Add the counts of unusual responses.

    Where the two usual responses differ, all clusters of the less supported one count as unusual.
    """
    references, other = both.references, second.references.on_host()
    waits = stratum in first.waiting
    mine = np.zeros(0, np.int64) if waits else np.flatnonzero(first.strata == stratum)
    counts = [both.sums.unusual[mine], second.sums.on_host().unusual[theirs]]
    sizes = [first.clusters[mine], second.clusters[theirs]]
    support = [n.sum() - c.sum(axis=0) for n, c in zip(sizes, counts, strict=True)]
    usual, same = merged_usual(
        references.usual[stratum], other.usual[stratum], mine=support[0], theirs=support[1]
    )
    ours = support[0] >= support[1]
    if len(mine):
        both.sums.unusual[mine] = np.where(same | ours, counts[0], sizes[0][:, None])
    both.sums.unusual[theirs] += np.where(same | ~ours, counts[1], sizes[1][:, None])
    references.usual[stratum] = usual
