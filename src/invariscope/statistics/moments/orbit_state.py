"""States of orbit sums, by bucket."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import replicate_sums, with_buckets
from invariscope.statistics.moments.references import References, as_array
from invariscope.statistics.visits import Visits


@dataclass
class Sums:
    """Sums over the samples of each bucket: arrays on the host, tensors on another device.

    Here h_ij = a_ij − p_j, with p the reference orbit of the bucket's stratum.

    Args:
        columns: (bucket, element, unit) Σ_i h_ij.
        within: (bucket, unit) Σ_ij (a_ij − ā_i)².
        total: (bucket, unit) Σ_ij h_ij².
        unusual: (bucket, unit) number of clusters with an unusual response, see `References`.
        decisive: (bucket, 3) number of clusters, Σ d and Σ d² over clusters, where d is a cluster's
            contribution to `within`, summed over units.
        deviations: (bucket, unit) Σ_i std_j a_ij, for spread "std" only.
        squares: (bucket, element, unit) Σ_i h_ij², for spread "std" only.
    """

    columns: Any
    within: Any
    total: Any
    unusual: Any
    decisive: Any
    deviations: Any = None
    squares: Any = None

    def arrays(self) -> dict[str, Any]:
        """Return the sums that are kept, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def on_host(self) -> Sums:
        """Return the sums as arrays."""
        return Sums(**{name: as_array(part) for name, part in self.arrays().items()})

    def on(self, device: torch.device) -> Sums:
        """Return the sums as tensors."""
        return Sums(**{name: torch.from_numpy(part).to(device) for name, part in self.arrays().items()})

    def copy(self) -> Sums:
        """Return a copy of the sums as arrays."""
        return Sums(**{name: np.array(part) for name, part in self.on_host().arrays().items()})

    @classmethod
    def empty(cls, buckets: int, elements: int, units: int, *, standard: bool = False) -> Sums:
        """Return zeros, with or without the sums of standard deviations."""
        return cls(
            columns=np.zeros((buckets, elements, units)),
            within=np.zeros((buckets, units)),
            total=np.zeros((buckets, units)),
            unusual=np.zeros((buckets, units)),
            decisive=np.zeros((buckets, 3)),
            deviations=np.zeros((buckets, units)) if standard else None,
            squares=np.zeros((buckets, elements, units)) if standard else None,
        )


@dataclass(frozen=True)
class Waiting:
    """Orbits of the first samples of a stratum, which has no reference yet.

    Args:
        orbits: (visit, element, unit) copies, at the start of `room`.
        buckets: (visit,) the buckets in which the orbits will be counted.
        clusters: (visit,) see `Block.clusters`.
        room: preallocated memory for these and further orbits, if there is any.
    """

    orbits: Tensor
    buckets: np.ndarray
    clusters: np.ndarray | None
    room: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.buckets)

    @classmethod
    def none_yet(cls, room: Tensor, *, clustered: bool) -> Waiting:
        """Return an empty collection, with preallocated memory."""
        nothing = np.zeros(0, np.int64)
        return cls(room[:0], nothing, nothing if clustered else None, room)

    def and_of(self, view: Tensor, samples: np.ndarray, buckets: np.ndarray, clusters: Any) -> Waiting:
        """Return these orbits followed by copies of some samples of a (sample, element, unit) view."""
        count = len(self) + len(samples)
        room = self.room if self.room is not None and len(self.room) >= count else None
        if room is None:
            room = torch.cat([self.orbits, view.new_empty((count - len(self), *view.shape[1:]))])
        for place, sample in enumerate(samples.tolist(), start=len(self)):
            room[place].copy_(view[sample])
        if clusters is not None and self.clusters is not None:
            clusters = np.concatenate([self.clusters, clusters[samples]])
        return Waiting(room[:count], np.concatenate([self.buckets, buckets]), clusters, room)

    def and_then(self, later: Waiting) -> Waiting:
        """Return these orbits followed by the later ones."""
        clusters = None
        if self.clusters is not None and later.clusters is not None:
            clusters = np.concatenate([self.clusters, later.clusters])
        orbits = torch.cat([self.orbits, later.orbits.to(self.orbits.device)])
        return Waiting(orbits, np.concatenate([self.buckets, later.buckets]), clusters)


@dataclass
class OrbitState:
    """Sums by bucket, on the device that reduces the activations.

    Args:
        shape: the layer's own unit shape; with channels_last, units are stored as (H, W, C).
        double: whether the activations were float64.
        counts, clusters: (bucket,) number of samples and of clusters, including waiting ones.
        strata: (bucket,) the stratum of each bucket, -1 until a sample is counted there.
        sums: sums over all samples except waiting ones.
        references: reference orbits of the sums, by stratum.
        overall: whether bucket 0 holds nothing but the number of unusual clusters among all samples, whose
            usual response is that of stratum 0; see `Membership.overall`.
        waiting: samples of strata without a reference so far, by stratum.
        lent: whether `sums` temporarily includes the waiting samples, relative to a reference computed from
            them alone.
        spare: memory that waiting samples no longer need, to be reused for those of other strata.
        device: where the sums are, if not on the host.
    """

    shape: tuple[int, ...]
    double: bool
    counts: np.ndarray
    clusters: np.ndarray
    strata: np.ndarray
    sums: Sums
    references: References
    channels_last: bool = False
    overall: bool = False
    waiting: dict[int, Waiting] = field(default_factory=dict)
    lent: bool = False
    spare: Tensor | None = field(default=None, repr=False)
    device: torch.device | None = None

    @property
    def elements(self) -> int:
        """Number of elements per orbit."""
        return self.references.pivot.shape[1]

    def move_to(self, device: torch.device) -> None:
        """Move the sums to the device on which later blocks are reduced."""
        self.device, self.sums, self.references = device, self.sums.on(device), self.references.on(device)

    def on_host(self) -> None:
        """Move the sums back to the host."""
        self.device, self.sums, self.references = None, self.sums.on_host(), self.references.on_host()

    def enlarge(self, buckets: int) -> None:
        """Append empty buckets."""
        added = np.full(buckets - len(self.strata), -1)
        self.counts, self.clusters = with_buckets(self.counts, buckets), with_buckets(self.clusters, buckets)
        self.strata = np.concatenate([self.strata, added])
        grown = {name: with_buckets(part, buckets) for name, part in self.sums.on_host().arrays().items()}
        self.sums = Sums(**grown) if self.device is None else Sums(**grown).on(self.device)

    def restarted(self, *, classes: bool = True) -> OrbitState:
        """Return a state without samples, with the same references, or with that of all samples alone."""
        buckets, sums, references = len(self.counts), self.sums, self.references.on_host()
        references = references if classes else references.of_first()
        units = math.prod(self.shape)
        return replace(
            self,
            counts=np.zeros(buckets, np.int64),
            clusters=np.zeros(buckets, np.int64),
            strata=np.full(buckets, -1),
            sums=Sums.empty(buckets, self.elements, units, standard=sums.squares is not None),
            references=references,
            waiting={},
            lent=False,
            device=None,
        )

    def count(self, visits: Visits) -> None:
        """Add visits to the counts, and allocate memory for the references of their strata."""
        self.counts[visits.buckets] += visits.sizes
        self.clusters[visits.buckets] += visits.clusters
        self.strata[visits.buckets] = visits.strata
        self.references.make_room(visits.reach[2] + 1)

    def take_back(self) -> None:
        """Remove the waiting samples from the sums again."""
        if self.lent:
            lent = np.unique(np.concatenate([few.buckets for few in self.waiting.values()]))
            for part in self.sums.arrays().values():
                part[lent] = 0
            self.lent = False


def by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """Convert (bucket, ...) sums to (group, ...) sums; a view if groups are consecutive single buckets."""
    first = groups[0][0]
    if groups == [[first + g] for g in range(len(groups))]:
        return array[first : first + len(groups)]
    return np.stack([array[members].sum(axis=0) for members in groups])


def element_deviations(
    state: OrbitState, groups: list[list[int]], reference: int, counts: np.ndarray
) -> np.ndarray:
    """Return the (replicate, unit) mean over elements of the standard deviation across samples.

    Args:
        groups: buckets by group.
        reference: the stratum to whose reference orbit all sums are moved.
        counts: (replicate,) number of samples.
    """
    n = counts[:, None, None]
    columns, squares = (
        replicate_sums(np.stack(parts))
        for parts in zip(*(_moved_group(state, g, reference) for g in groups), strict=True)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(squares - columns**2 / n, 0) / (n - 1)
    return np.sqrt(variance).mean(axis=1)


def _moved_group(state: OrbitState, members: list[int], reference: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (element, unit) Σ h and Σ h² of a group of buckets, relative to the orbit of one stratum."""
    columns, squares = (np.zeros(state.sums.columns.shape[1:]) for _ in range(2))
    for bucket in members:
        own, count = state.sums.columns[bucket], int(state.counts[bucket])
        columns += own
        squares += state.sums.squares[bucket]
        if count and state.strata[bucket] != reference:
            move = state.references.pivot[state.strata[bucket]].astype(np.float64)
            move -= state.references.pivot[reference]
            columns += count * move
            squares += move * (2 * own + count * move)
    return columns, squares


def in_layer_shape(state: OrbitState, array: np.ndarray) -> np.ndarray:
    """Return (..., unit) values in the layer's own shape."""
    lead = array.shape[:-1]
    if not state.channels_last:
        return array.reshape((*lead, *state.shape))
    channels, height, width = state.shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, len(lead))
