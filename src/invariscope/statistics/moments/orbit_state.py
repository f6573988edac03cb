"""The sums that a layer's orbits leave behind, by bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.statistics.base import replicate_sums, with_buckets
from invariscope.statistics.moments.references import References
from invariscope.statistics.visits import Visits


@dataclass
class Sums:
    """Sums over the samples of each bucket: arrays on the host, tensors on another device.

    With h_ij = a_ij − p_j for the fixed orbit p of the bucket's stratum:
    columns: (bucket, element, unit) Σ_i h_ij; within: (bucket, unit) Σ_ij (a_ij − ā_i)²;
    total: Σ_ij h_ij²; unusual: clusters with a response other than the usual one, see `References`;
    decisive: (bucket, 3) clusters, Σ d and Σ d² over them, d what each adds to `within` of all units;
    deviations: Σ_i std_j a_ij and squares: (bucket, element, unit) Σ_i h_ij², for spread "std" only.
    """

    columns: Any
    within: Any
    total: Any
    unusual: Any
    decisive: Any
    deviations: Any = None
    squares: Any = None

    def arrays(self) -> dict[str, Any]:
        """The sums that are kept, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def on_host(self) -> Sums:
        """The sums as arrays."""
        return Sums(
            **{
                name: part.cpu().numpy() if isinstance(part, Tensor) else part
                for name, part in self.arrays().items()
            }
        )

    def on(self, device: torch.device) -> Sums:
        """The sums as tensors."""
        return Sums(**{name: torch.from_numpy(part).to(device) for name, part in self.arrays().items()})

    def copy(self) -> Sums:
        """The sums as arrays of their own."""
        return Sums(**{name: np.array(part) for name, part in self.on_host().arrays().items()})

    @classmethod
    def empty(cls, buckets: int, elements: int, units: int, *, standard: bool = False) -> Sums:
        """Zeros, with or without the sums of standard deviations."""
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
        orbits: (visit, element, unit) copies, the first of `room`.
        buckets: (visit,) where they are to be counted.
        clusters: (visit,) see `Block.clusters`.
        room: memory for more orbits, if there is any left.
    """

    orbits: Tensor
    buckets: np.ndarray
    clusters: np.ndarray | None
    room: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.buckets)

    @classmethod
    def none_yet(cls, room: Tensor, *, clustered: bool) -> Waiting:
        """Nobody, with room for some."""
        nothing = np.zeros(0, np.int64)
        return cls(room[:0], nothing, nothing if clustered else None, room)

    def and_of(self, view: Tensor, samples: np.ndarray, buckets: np.ndarray, clusters: Any) -> Waiting:
        """These, and copies of some samples of a (sample, element, unit) view, for which there is room."""
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
        """These, and the later ones."""
        clusters = None
        if self.clusters is not None and later.clusters is not None:
            clusters = np.concatenate([self.clusters, later.clusters])
        orbits = torch.cat([self.orbits, later.orbits.to(self.orbits.device)])
        return Waiting(orbits, np.concatenate([self.buckets, later.buckets]), clusters)


@dataclass
class OrbitState:
    """Sums by bucket, on the device that reduces the activations.

    Args:
        shape: the layer's own unit shape; with channels_last, units stand in memory as (H, W, C).
        double: whether the activations were float64.
        counts, clusters: (bucket,) samples, and how many clusters they make; those that wait included.
        strata: (bucket,) the stratum of each, -1 until a sample is counted there.
        sums: of all samples but those that wait.
        references: what they are relative to, by stratum.
        waiting: by stratum, samples for which there is no reference yet.
        lent: whether `sums` holds those that wait for now, relative to a reference from them alone.
        spare: memory in which samples have waited, for those of other strata.
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
    waiting: dict[int, Waiting] = field(default_factory=dict)
    lent: bool = False
    spare: Tensor | None = field(default=None, repr=False)
    device: torch.device | None = None

    @property
    def elements(self) -> int:
        """How many elements an orbit has."""
        return self.references.pivot.shape[1]

    def move_to(self, device: torch.device) -> None:
        """The sums to the device that reduces from now on."""
        self.device, self.sums, self.references = device, self.sums.on(device), self.references.on(device)

    def on_host(self) -> None:
        """The sums back to the host."""
        self.device, self.sums, self.references = None, self.sums.on_host(), self.references.on_host()

    def enlarge(self, buckets: int) -> None:
        """Room for more buckets."""
        added = np.full(buckets - len(self.strata), -1)
        self.counts, self.clusters = with_buckets(self.counts, buckets), with_buckets(self.clusters, buckets)
        self.strata = np.concatenate([self.strata, added])
        grown = {name: with_buckets(part, buckets) for name, part in self.sums.on_host().arrays().items()}
        self.sums = Sums(**grown) if self.device is None else Sums(**grown).on(self.device)

    def count(self, visits: Visits) -> None:
        """Counts visits, and makes room for the references of their strata."""
        self.counts[visits.buckets] += visits.sizes
        self.clusters[visits.buckets] += visits.clusters
        self.strata[visits.buckets] = visits.strata
        self.references.make_room(visits.reach[2] + 1)

    def take_back(self) -> None:
        """Takes the samples that wait out of the sums again."""
        if self.lent:
            lent = np.unique(np.concatenate([few.buckets for few in self.waiting.values()]))
            for part in self.sums.arrays().values():
                part[lent] = 0
            self.lent = False


def by_group(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """(bucket, ...) sums as (group, ...) sums; a view where groups are neighbouring buckets."""
    first = groups[0][0]
    if groups == [[first + g] for g in range(len(groups))]:
        return array[first : first + len(groups)]
    return np.stack([array[members].sum(axis=0) for members in groups])


def element_deviations(
    state: OrbitState, groups: list[list[int]], reference: int, counts: np.ndarray
) -> np.ndarray:
    """(replicate, unit) mean over elements of the standard deviation across samples.

    Args:
        groups: buckets by group.
        reference: the stratum whose fixed orbit all sums are to be relative to.
        counts: (replicate,) samples.
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
    """(element, unit) Σ h and Σ h² of a group of buckets, relative to the orbit of one stratum."""
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
    """(..., unit) back in the layer's own shape."""
    lead = array.shape[:-1]
    if not state.channels_last:
        return array.reshape((*lead, *state.shape))
    channels, height, width = state.shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, len(lead))
