"""First and second moments of a layer's responses along orbits and across samples, in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block, Membership
from invariscope.statistics.base import Statistic, replicate_sums, sums_of_groups
from invariscope.statistics.errors import NonFiniteError
from invariscope.statistics.moments.group_kernel import group_products
from invariscope.statistics.moments.orbit_merging import counted_in, merged, packed, unpacked
from invariscope.statistics.moments.orbit_reduction import Orbits, add_orbits, stands_last
from invariscope.statistics.moments.orbit_state import (
    OrbitState,
    Sums,
    Waiting,
    by_group,
    element_deviations,
    in_layer_shape,
)
from invariscope.statistics.moments.references import FIRST, References
from invariscope.statistics.moments.strata_moments import finalized_strata
from invariscope.statistics.moments.variances import Moments
from invariscope.statistics.visits import Visits

_COLLAPSE = {
    "before_mean": partial(torch.mean, dtype=torch.float64),
    "before_max": torch.amax,
    "before_sum": partial(torch.sum, dtype=torch.float64),
}

SPREADS = ("variance", "std")
POOLS = (None, "after", "ratio", "before_mean", "before_max", "before_sum")


def _windows(ranks: Any, sizes: Any, *, width: int = 64) -> np.ndarray:
    """Return how many of the windows k … k + 63, k < ⌊n/64⌋, contain the sample of each rank."""
    last = sizes // width - 1
    return np.clip(np.minimum(ranks, last) - np.maximum(ranks - width + 1, 0) + 1, 0, None)


def _whole_batches(ranks: Any, sizes: Any, *, width: int = 64) -> np.ndarray:
    """Return 1 for samples in the first ⌊n/64⌋ batches of 64, otherwise 0."""
    return (ranks < sizes // width * width).astype(np.int64)


SELECTIONS = {"windows": _windows, "whole_batches": _whole_batches}


@dataclass(frozen=True)
class OrbitMoments(Statistic):
    """Sums from which all variances are computed: along orbits, across samples, in total.

    With e_ij = a_ij − a_i0 and h_ij = a_ij − p_j for one reference orbit p per unit and stratum, one pass
    keeps Σ_i h_ij for every element, Σ_ij h_ij², and Σ_ij (e_ij − ē_i)², all in float64. The reference orbit
    is the median of the first five samples of the stratum, which are held back until all five have arrived.

    Args:
        spread: "variance", or "std" to keep mean standard deviations too.
        collapse: reduce each feature map over its positions before any statistic: None,
            "before_mean", "before_max" or "before_sum"; units without positions are unaffected.
        selection: count samples as the 2019 code did ("windows", "whole_batches"); None: each once.
        every_unit: take all units of a layer, even if other statistics use only drawn units.
    """

    refuses_nonfinite: ClassVar[bool] = True
    spread: str = "variance"
    collapse: str | None = None
    selection: str | None = None
    every_unit: bool = False

    @property
    def drawable(self) -> bool:
        """Whether a sample of units suffices: not if whole maps are collapsed, or all units are requested."""
        return self.collapse is None and not self.every_unit

    @property
    def _standard(self) -> bool:
        return self.spread == "std"

    def units_of(self, shape: tuple[int, ...]) -> int:
        """Return the number of units or, if maps are collapsed first, of feature maps."""
        return shape[0] if self.collapse is not None and len(shape) > 2 else math.prod(shape)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for sums per unit and element, and sums per unit."""
        columns = 2 if self._standard else 1
        return 8 * units * (columns * elements + 3 + (1 if self._standard else 0)) + 32

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the reference orbit and usual response, as if both were float64."""
        return 8 * units * (elements + 2)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> OrbitState:
        """Return an empty state."""
        values = self._collapsed(block.values)
        units = math.prod(values.shape[1:])
        kind = np.dtype(np.float64 if values.dtype == torch.float64 else np.float32)
        return OrbitState(
            shape=tuple(values.shape[1:]),
            double=block.values.dtype == torch.float64,
            counts=np.zeros(buckets, np.int64),
            clusters=np.zeros(buckets, np.int64),
            strata=np.full(buckets, -1),
            sums=Sums.empty(buckets, block.elements, units, standard=self._standard),
            references=References.empty(block.membership.known, block.elements, units, kind),
            channels_last=stands_last(values),
            overall=block.membership.overall,
        )

    def _collapsed(self, values: Tensor) -> Tensor:
        if self.collapse is None or values.ndim < 4:
            return values
        return _COLLAPSE[self.collapse](values, dim=tuple(range(2, values.ndim)))

    def update(self, state: OrbitState, block: Block) -> None:
        """Add a block's orbits to their buckets.

        Raises:
            NonFiniteError: a response is NaN or infinite.
            ValueError: the shape of the responses differs from earlier ones.
        """
        if self.collapse is not None:  # before the selection, which may repeat large maps 64 times
            block = replace(block, values=self._collapsed(block.values))
        _refuse_another_shape(block, state)
        for part in self._selected(block):
            self._add(state, replace(part, membership=part.membership.and_overall))

    def _selected(self, block: Block) -> Iterator[Block]:
        """Yield the block; with a selection, one for each of a sample's buckets, as its stratum selects."""
        if self.selection is None:
            yield block
            return
        shape, select = block.membership.buckets.shape, SELECTIONS[self.selection]
        assert block.positions is not None
        assert block.sizes is not None
        places = [np.broadcast_to(p.reshape(shape[0], -1), shape) for p in (block.positions, block.sizes)]
        for k in range(shape[1]):
            own = replace(block, membership=block.membership.column(k))
            if (chosen := own.repeated(select(*(part[:, k] for part in places)))).samples:
                yield chosen

    def _add(self, state: OrbitState, block: Block) -> None:
        """Add a block whose samples are all counted."""
        state.take_back()
        orbits = Orbits.of_block(block, channels_last=state.channels_last)
        if orbits.rows.device.type != "cpu" and state.device is None:  # a new, merged or restored state
            state.move_to(orbits.rows.device)
        visits = Visits.of(block.membership, block.clusters)
        state.count(visits)
        if not (ready := state.references.settled[visits.strata]).all():
            self._meet(state, np.unique(visits.strata[~ready]), orbits, block)
            visits = visits.only(state.references.settled[visits.strata])
        add_orbits(state, orbits, visits, standard=self._standard)

    def _meet(self, state: OrbitState, strata: np.ndarray, orbits: Orbits, block: Block) -> None:
        """Compute the references of strata with enough samples in a block, and hold back those of others."""
        known = block.membership.by_stratum
        first = {s: known[s][0][:FIRST] for s in strata.tolist() if s not in state.waiting}
        enough = {stratum: samples for stratum, samples in first.items() if len(samples) == FIRST}
        if enough:
            self._settle(state, list(enough), orbits, np.stack(list(enough.values())))
        for stratum in strata.tolist():
            if stratum not in enough:
                self._wait(state, stratum, orbits, block)

    def _wait(self, state: OrbitState, stratum: int, orbits: Orbits, block: Block) -> None:
        """Hold back a block's samples of a stratum, or compute its reference if there are enough by now."""
        (samples, buckets), before = block.membership.by_stratum[stratum], state.waiting.get(stratum)
        missing = FIRST - (0 if before is None else len(before))
        view = orbits.view
        if before is None:
            room = view.new_empty((FIRST, *view.shape[1:])) if state.spare is None else state.spare
            before, state.spare = Waiting.none_yet(room, clustered=block.clusters is not None), None
        together = before.and_of(view, samples[:missing], buckets[:missing], block.clusters)
        if len(together) < FIRST:
            if not math.isfinite(together.orbits.sum().item()):  # in later blocks, the sums reveal it
                raise NonFiniteError
            state.waiting[stratum] = together
            return
        self._settle(state, [stratum], Orbits.of_waiting(together), np.arange(FIRST)[None])
        state.waiting.pop(stratum, None)
        if len(before):
            self._add_waiting(state, stratum, before)
        state.spare = together.room

    def _settle(self, state: OrbitState, strata: list[int], orbits: Orbits, samples: np.ndarray) -> None:
        """Compute the references of strata from (stratum, sample) some samples, and mark them as final."""
        rows, (first, step) = orbits.rows, orbits.steps
        state.references.take(np.array(strata), rows, samples * first, step, double=state.double)
        state.references.settled[strata] = True

    def _add_waiting(self, state: OrbitState, stratum: int, few: Waiting) -> None:
        """Add samples that were held back to the sums, relative to the reference of their stratum."""
        membership = Membership(few.buckets[:, None], np.full((len(few), 1), stratum))
        visits = Visits.of(membership, few.clusters)
        add_orbits(state, Orbits.of_waiting(few), visits, standard=self._standard)

    def _lend(self, state: OrbitState) -> None:
        """Add the waiting samples temporarily, relative to a reference computed from them alone."""
        if state.lent:
            return
        for stratum, few in state.waiting.items():
            self._settle(state, [stratum], Orbits.of_waiting(few), np.arange(len(few))[None])
            state.references.settled[stratum] = False
            self._add_waiting(state, stratum, few)
        state.lent = bool(state.waiting)

    @property
    def ordered(self) -> bool:
        """Whether samples are selected by their place in the data."""
        return self.selection is not None

    @property
    def first_samples(self) -> int:
        """Return the number of samples from which references are taken."""
        return FIRST

    def restarted(self, state: OrbitState, *, classes: bool = True) -> OrbitState:
        """Return a state without samples, with the same references."""
        return state.restarted(classes=classes)

    def enlarge(self, state: OrbitState, buckets: int) -> None:
        """Append empty buckets."""
        state.enlarge(buckets)

    def pack(self, state: OrbitState) -> dict[str, np.ndarray]:
        """Return the sums as arrays."""
        return packed(state)

    def unpack(self, arrays: dict[str, np.ndarray]) -> OrbitState:
        """Restore the sums from arrays."""
        return unpacked(arrays)

    def merge(self, first: OrbitState, second: OrbitState) -> OrbitState:
        """Return the sums of both, relative to the first one's reference orbits."""
        both, waiting = merged(first, second)
        for stratum, few in waiting.items():
            if not both.references.settled[stratum]:
                if len(few) < FIRST:
                    both.waiting[stratum] = few
                    continue
                self._settle(both, [stratum], Orbits.of_waiting(few), np.arange(FIRST)[None])
            self._add_waiting(both, stratum, few)
        return both

    def finalize(self, state: OrbitState, groups: list[list[int]]) -> Moments:
        """Return moments of the samples in the given groups of buckets; see `Statistic.finalize`."""
        self._lend(state)
        state.spare = None
        if state.device is not None:
            state.on_host()  # the next update takes them back to the device
        members = [bucket for group in groups for bucket in group]
        clusters = counted_in(state, members)
        counts = sums_of_groups(state.counts.astype(float), groups)
        reference, sums = _largest_stratum(state, members), state.sums
        pivots = state.references.pivot
        squared, moving, mean, moved = group_products(
            sums.columns, groups, state.strata, state.counts, pivots, reference
        )
        within, total = by_group(sums.within, groups), by_group(sums.total, groups) + moved
        finals = (squared, moving, replicate_sums(within), replicate_sums(total))
        shape = partial(in_layer_shape, state)
        deviations = squares = None
        if self._standard:
            deviations = shape(replicate_sums(by_group(sums.deviations, groups)))
            squares = shape(element_deviations(state, groups, reference, counts))
        return Moments(
            counts.reshape(-1, *(1 for _ in state.shape)),
            state.elements,
            *map(shape, finals),
            unusual=shape(sums.unusual[clusters].sum(axis=0)),
            clusters=int(state.clusters[clusters].sum()),
            decisive=sums.decisive[clusters].sum(axis=0),
            mean=shape(pivots[reference].mean(axis=0, dtype=np.float64) + mean / state.elements),
            double=state.double,
            row_deviations=deviations,
            element_deviation=squares,
        )

    def finalize_strata(self, state: OrbitState, buckets: np.ndarray) -> Sequence[Moments]:
        """Return the moments of several strata, computed together; see `Statistic.finalize_strata`."""
        self._lend(state)
        state.spare = None
        if state.device is not None:
            state.on_host()
        return finalized_strata(state, buckets, standard=self._standard)


def _refuse_another_shape(block: Block, state: OrbitState) -> None:
    """Raise ValueError, naming the layer and both shapes, if the shape differs from earlier blocks."""
    found = tuple(block.values.shape[1:])
    if found != state.shape or block.elements != state.elements:
        raise ValueError(
            f"layer {block.layer!r} returned shape {found} for {block.elements} elements, but earlier shape "
            f"{state.shape} for {state.elements} elements; all samples must have the same units and elements"
        )


def _largest_stratum(state: OrbitState, buckets: list[int]) -> int:
    """Return the stratum with the most samples in these buckets."""
    filled = [bucket for bucket in buckets if state.counts[bucket]]
    if not filled:
        return 0
    return int(np.bincount(state.strata[filled], weights=state.counts[filled]).argmax())
