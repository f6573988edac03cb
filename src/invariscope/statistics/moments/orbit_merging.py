"""Merging and serialisation of orbit states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from invariscope.statistics.moments.orbit_state import OrbitState, Sums, Waiting
from invariscope.statistics.moments.references import References
from invariscope.statistics.moments.strata_merging import add_strata

_REFERENCES = ("pivot", "usual", "settled")


def packed(state: OrbitState) -> dict[str, np.ndarray]:
    """Return a state as named arrays."""
    state.take_back()
    facts = {"shape": state.shape, "facts": (state.double, state.channels_last, state.overall)}
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
    double, channels_last, overall = map(bool, arrays["facts"].tolist())
    return OrbitState(
        shape=tuple(arrays["shape"].tolist()),
        double=double,
        counts=arrays["counts"],
        clusters=arrays["clusters"],
        strata=arrays["strata"],
        sums=Sums(**{name[5:]: array for name, array in arrays.items() if name.startswith("sums.")}),
        references=References(*(arrays[f"references.{name}"] for name in _REFERENCES)),
        channels_last=channels_last,
        overall=overall,
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
        overall=first.overall,
    )
    add_strata(both, first, second)
    waiting = dict(first.waiting)
    for stratum, few in second.waiting.items():
        waiting[stratum] = waiting[stratum].and_then(few) if stratum in waiting else few
    return both, dict(sorted(waiting.items()))


def counted_in(state: OrbitState, buckets: list[int]) -> list[int]:
    """Return the buckets that count the clusters of these buckets, which hold all samples or one stratum.

    A cluster with samples of several classes is one of all clusters, but also one in each of these classes.
    """
    return [0] if state.overall and state.counts[buckets].sum() == state.counts[0] else buckets
