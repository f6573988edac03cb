"""Reduction of a block by the fused kernel, or by tensor operations on devices other than the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.errors import NonFiniteError
from invariscope.statistics.moments.moment_kernel import reduce_orbits
from invariscope.statistics.moments.orbit_state import OrbitState, Waiting
from invariscope.statistics.moments.references import agree, weighted_sums
from invariscope.statistics.visits import Visits

_UNIT_CHUNK = 1 << 16


@dataclass(frozen=True)
class Orbits:
    """Whole orbits as rows: the response to element j of sample i is row i·steps[0] + j·steps[1].

    Args:
        rows: (row, unit) in memory order.
        samples, elements: number of each.
        steps: see above.
    """

    rows: Tensor
    samples: int
    elements: int
    steps: tuple[int, int]

    @classmethod
    def of_block(cls, block: Block, *, channels_last: bool) -> Orbits:
        """Return a block's orbits, in the precision used for the reduction."""
        rows = as_rows(block.values, channels_last=channels_last)
        return cls(rows, block.samples, block.elements, (block.sample_step, block.element_step))

    @classmethod
    def of_waiting(cls, few: Waiting) -> Orbits:
        """Return the orbits of samples that were held back."""
        samples, elements, units = few.orbits.shape
        return cls(few.orbits.reshape(-1, units), samples, elements, (elements, 1))

    @property
    def view(self) -> Tensor:
        """(sample, element, unit) without a copy."""
        stride, size = self.rows.stride(0), (self.samples, self.elements, self.rows.shape[1])
        steps = (self.steps[0] * stride, self.steps[1] * stride, 1)
        last = (self.samples - 1) * self.steps[0] + (self.elements - 1) * self.steps[1]
        assert last < len(self.rows), "orbits extend beyond the block"
        return self.rows.as_strided(size, steps, self.rows.storage_offset())


def stands_last(values: Tensor) -> bool:
    """Return whether (row, channel, height, width) values are stored with channels last."""
    return (
        values.ndim == 4
        and not values.is_contiguous()
        and values.is_contiguous(memory_format=torch.channels_last)
    )


def as_rows(values: Tensor, *, channels_last: bool) -> Tensor:
    """Return (row, unit) values with channels last or first, without a copy if stored in that order."""
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    if channels_last:
        values = values.permute(0, 2, 3, 1)
    return values.reshape(values.shape[0], -1).contiguous()


def add_orbits(state: OrbitState, orbits: Orbits, visits: Visits, *, standard: bool) -> None:
    """Add the visited orbits to the sums of a state that holds the references of their strata.

    Raises:
        NonFiniteError: a response is NaN or infinite.
    """
    if not len(visits.samples):
        return
    if state.device is None:
        rows, threads = orbits.rows.numpy(), torch.get_num_threads()
        contributions = reduce_orbits(rows, orbits.steps, visits, state, threads=threads)
    else:
        contributions = _reduce_on_device(state, orbits, visits)
    if contributions is None:
        raise NonFiniteError
    _add(state.sums.decisive, visits.buckets, visits.sums_of_clusters(contributions))
    if standard:
        _add_deviations(state, orbits, visits)


def _reduce_on_device(state: OrbitState, orbits: Orbits, visits: Visits) -> np.ndarray | None:
    """Compute the kernel's sums with tensor operations, one chunk of units at a time; see `reduce_orbits`."""
    sums, device = state.sums, orbits.rows.device
    contributions = torch.zeros(orbits.samples, dtype=torch.float64, device=device)
    for lo in range(0, orbits.rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbits.view[:, :, units]
        steps = orbit[:, 1:].double().sub_(orbit[:, :1])
        within = (steps.square().sum(1) - steps.sum(1).square() / state.elements).clamp_min(0)
        contributions += within.sum(1)
        weighted = weighted_sums(orbit)
        firsts = np.split(visits.first, visits.edges[1:-1])
        for (bucket, stratum, samples), first in zip(visits, firsts, strict=True):
            chosen = torch.from_numpy(samples).to(device)
            usual = state.references.usual[stratum][:, units]
            usually = agree(weighted[chosen], *usual)
            sums.unusual[bucket, units] += _any_of_cluster(~usually, first).sum(0)
            if state.overall and bucket == 0:
                continue
            offsets = orbit[chosen].double().sub_(state.references.pivot[stratum][:, units])
            sums.columns[bucket, :, units] += offsets.sum(0)
            sums.total[bucket, units] += offsets.square().sum((0, 1))
            sums.within[bucket, units] += within[chosen].sum(0)
    # One sum over units costs a thirtieth of reading the block, and propagates NaN and infinity.
    finite = sums.total[torch.from_numpy(visits.buckets).to(device)].sum().isfinite()
    return contributions.cpu().numpy() if finite else None


def _any_of_cluster(flags: Tensor, first: np.ndarray) -> Tensor:
    """Reduce a (sample, unit) mask to (cluster, unit): whether it is set for any sample of the cluster."""
    if first.all():
        return flags
    cluster = torch.from_numpy(np.cumsum(first) - 1).to(flags.device)
    found = flags.new_zeros((int(first.sum()), flags.shape[1]), dtype=torch.int64)
    return found.index_add_(0, cluster, flags.long()) > 0


def _add_deviations(state: OrbitState, orbits: Orbits, visits: Visits) -> None:
    """Add Σ_i std_j a_ij and Σ_i h_ij², in float64."""
    rows = orbits.rows
    for lo in range(0, rows.shape[1], _UNIT_CHUNK):
        units = slice(lo, lo + _UNIT_CHUNK)
        orbit = orbits.view[:, :, units].double()
        deviations = (orbit - orbit[:, :1]).std(1)
        for bucket, stratum, samples in visits:
            if state.overall and bucket == 0:
                continue
            pivot = torch.as_tensor(state.references.pivot[stratum])[:, units].double()
            chosen = torch.from_numpy(samples).to(rows.device)
            squares = (orbit[chosen] - pivot).square().sum(0)
            _add(state.sums.deviations, (bucket, units), deviations[chosen].sum(0))
            _add(state.sums.squares, (bucket, slice(None), units), squares)


def _add(sums: Any, where: Any, part: Any) -> None:
    """Add a part to some of the sums; the two may be on different devices."""
    if isinstance(sums, np.ndarray):
        sums[where] += np.asarray(part)
    else:
        sums[where] += torch.as_tensor(part).to(sums.device)
