"""Merging and serialisation of orbit states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from invariscope.statistics.moments.orbit_state import OrbitState, Sums, Waiting
from invariscope.statistics.moments.references import References
from invariscope.statistics.moments.strata_merging import add_strata, same_response

_REFERENCES = ("pivot", "usual", "settled")


def packed(state: OrbitState) -> dict[str, np.ndarray]:
    """Return a state as named arrays."""
    state.take_back()
    facts = {"shape": state.shape, "facts": (state.double, state.channels_last)}
    arrays = {name: np.array(value, np.int64) for name, value in facts.items()}
    arrays |= {f"sums.{name}": array for name, array in state.sums.on_host().arrays().items()}
    settled = np.flatnonzero(state.references.settled)
    used = max(int(state.strata.max()), int(settled.max(initial=0))) + 1  # some may have no sample so far
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
    """Return the sums of both states, relative to the first one's references, and all waiting samples."""
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
    add_strata(both, first, second)
    waiting = dict(first.waiting)
    for stratum, few in second.waiting.items():
        waiting[stratum] = waiting[stratum].and_then(few) if stratum in waiting else few
    return both, dict(sorted(waiting.items()))


def unusual_counts(state: OrbitState, buckets: list[int]) -> np.ndarray:
    """Return the (unit,) number of clusters in these buckets that deviate from the common usual response.

    The strata vote on the common usual response. All clusters of a stratum with a different usual response
    are counted.
    """
    filled = [bucket for bucket in buckets if state.counts[bucket]]
    strata = np.unique(state.strata[filled]) if filled else np.zeros(0, np.int64)
    parts = [[b for b in filled if state.strata[b] == stratum] for stratum in strata]
    counts = [state.sums.unusual[part].sum(axis=0) for part in parts]
    if len(strata) < 2:
        return counts[0] if counts else np.zeros(state.sums.unusual.shape[1])
    sizes = [int(state.clusters[part].sum()) for part in parts]
    usual = [state.references.usual[stratum] for stratum in strata]
    common = _most_shared(usual, [size - count for size, count in zip(sizes, counts, strict=True)])
    found = np.zeros_like(counts[0])
    for own, size, count in zip(usual, sizes, counts, strict=True):
        found += np.where(same_response(own, common), count, size)
    return found


def _most_shared(usual: list[np.ndarray], support: list[np.ndarray]) -> np.ndarray:
    """Return the (2, unit) usual response that most clusters share, given the usual responses of the strata.

    Each stratum votes for its own usual response, weighted by the number of clusters that agree with it. A
    response shared by more than half of all clusters is always found; without one, the unit is not sparse.
    """
    found, weight = usual[0].copy(), support[0]
    for own, votes in zip(usual[1:], support[1:], strict=True):
        weight = np.where(same_response(own, found), weight + votes, weight - votes)
        found, weight = np.where(weight < 0, own, found), np.abs(weight)
    return found
